"""A page of the docs as a script: its steps in order, and whether what was seen is what it shows.

Pure; ``support.machines`` runs the steps. The rules for writers stand in CONTRIBUTING.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

NOT_RUN_REASONS = {
    "needs a container engine",
    "needs the network",
    "needs systemd",
}
"""Why a block may be left out. A new reason is added here, so that somebody reads it."""

STAYS = re.compile(
    r"\btornado(?:-multi|_multi) (?:serve|instances)\b|\bmake demo\b|\bpython \S+\.py\b"
)
"""Commands that stay in the foreground of the first terminal."""

MASKS = {
    # Only the named groups are masked. Lines are compared after runs of spaces became one.
    "dates": r"(?P<date>\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?(?:[+-]\d\d:\d\d)?)",
    "pids": r"""(?:\bpid[ =]|\bsupervisor |"pid": )(?P<pid>\d+)""",
    "pids in an error": r"\bin process (?P<pid>\d+)",
    "pids in a list of processes": r"^(?P<pid>\d+) tornado_multi: ",
    "measured durations": r"\b(?P<duration>\d+\.\d+ ?m?s|\d+ ms)\b",
    "lines that are drawn around a text": r"(?:^|(?<= ))(?P<rule>={3,})(?= |$)",
    "durations in JSON": r"""_m?s": (?P<duration>\d+(?:\.\d+)?(?:e-\d+)?)\b""",
    "memory in JSON": r"""_bytes": (?P<bytes>\d+)\b""",
    "uptime": r"\bup (?P<duration>(?:\d+[hms])+)\b",
    "time since a death": r"^worker \d+: last died (?P<duration>(?:\d+[hms])+) ago: ",
    "rest of a pause": r"^worker \d+: .*; next try in (?P<duration>\d+ s)\b",
    "version of Python": r"(?:\bPython |\"python\": \")(?P<version>\d+\.\d+\.\d+)",
    "where the reader's checkout is": r"(?P<directory>/[\w/]+/)(?:demo_app/|calls\.log)",
    "port of a client": r"\b127\.0\.0\.1:(?P<port>\d{4,5}) -> ",
    # Which threads have begun by now differs, and so does how much harm is done; 0 is no harm.
    "threads of a library": r' native threads? (?P<threads>"[\w:-]+"(?:, "[\w:-]+")*)',
    "replies that got mixed up": r": (?P<damage>[1-9]\d*) of \d+ replies",
    "whose reply it was": r"^sent (?P<sent>\d+) got (?P<got>\w+) ",
    "requests that were answered wrongly": r"^Non-2xx responses: +(?P<damage>[1-9]\d*)",
    "lines that are lost": r", (?P<damage>[1-9]\d*) log lines",
    # Which worker answers is the kernel's choice, so neither its number nor its count is compared.
    "which worker answered": r'"fork_id": (?P<fork_id>\d+)\b',
    "which worker had a request to finish": r" worker fork_id=(?P<fork_id>\d+) .*: Drained ",
    "workers of nginx, one per CPU": r", (?P<workers>\d+) old workers ended",
    "row of the status": (
        r"^\d+ (?P<pid>\d+|-) (?:\d+|-) (?:starting|ready|draining|backoff|stopped)"
        r" (?P<requests>\S+) \S+ \S+ (?P<beat>\S+) (?P<lag>\S+) (?P<pss>\S+) (?P<cpu>\S+)"
        r" (?P<up>\S+) \d+ "
    ),
}
"""What differs from run to run."""

ANY_LINES = "..."
FENCE = re.compile(r"^```(\w+)$")
COMMENT = re.compile(r"^<!-- (run|not run): *(\S.*?) *-->$")
FILE_NAME = re.compile(r"`([\w/][\w./-]*\.[a-z]+)`")


class PageError(AssertionError):
    """What a page shows is not what happens, or the page does not keep the rules."""


@dataclass(frozen=True)
class Place:
    """A line of a page, counted from 1."""

    page: str
    line: int

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A line after ``$``, or a hidden one; *shown* is what it prints."""

    place: Place
    text: str
    shown: tuple[str, ...] = ()
    hidden: bool = False
    code_is_shown: bool = False
    """The next command is ``echo $?``: any code is right, and this one is awaited to its end."""

    @property
    def stays(self) -> bool:
        return bool(STAYS.search(self.text)) and not self.code_is_shown

    @property
    def in_background(self) -> bool:
        return self.text.endswith("&")


@dataclass(frozen=True)
class Output:
    """A ``text`` block: what the command in the first terminal has printed meanwhile."""

    place: Place
    shown: tuple[str, ...]


@dataclass(frozen=True)
class File:
    """Any other block: a file that the reader writes."""

    place: Place
    path: str
    content: str


@dataclass(frozen=True)
class NotRun:
    """A block with a comment that says why it is left out."""

    place: Place
    reason: str


Step = Command | Output | File | NotRun


@dataclass(frozen=True)
class _Block:
    language: str
    lines: list[str]


# --- reading --------------------------------------------------------------------------------------


def read_steps(page: str, text: str) -> list[Step]:
    """Return the steps of a page.

    Raises: PageError: a block or a comment that no rule covers.
    """
    steps: list[Step] = []
    said = ""  # the last line of prose, or the comment that leaves the block out
    lines = iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        place = Place(page, number)
        if line.lstrip().startswith(("```", "~~~")):
            steps += _steps_of_block(place, _read_block(place, line, lines), said)
            said = ""
        elif line.startswith("<!--"):
            comment = COMMENT.match(line)
            if comment is None:
                forms = "<!-- run: COMMAND --> or <!-- not run: REASON -->"
                raise PageError(f"{place}: a comment is {forms}, not {line}")
            if comment[1] == "run":
                steps.append(Command(place, comment[2], hidden=True))
            else:
                said = line
        elif line:
            said = line
    return steps


def _read_block(place: Place, first: str, lines: Iterator[tuple[int, str]]) -> _Block:
    fence = FENCE.match(first)
    if fence is None:
        message = f"{place}: a block begins in the first column with ```LANGUAGE, not with {first}"
        raise PageError(message)
    content = []
    for _, line in lines:
        if line == "```":
            return _Block(fence[1], content)
        content.append(line)
    raise PageError(f"{place}: the block has no end")


def _steps_of_block(place: Place, block: _Block, said: str) -> list[Step]:
    if (comment := COMMENT.match(said)) is not None:
        if comment[2] not in NOT_RUN_REASONS:
            raise PageError(f"{place}: not run for a reason that is not in the list: {comment[2]}")
        return [NotRun(place, comment[2])]
    match block.language:
        case "console":
            return list(_commands(place, block.lines))
        case "text":
            return [Output(place, tuple(block.lines))]
        case _:
            names = FILE_NAME.findall(said)
            if not names:
                message = f"{place}: the sentence before the block names no file in backticks"
                raise PageError(message)
            return [File(place, names[-1], "".join(f"{line}\n" for line in block.lines))]


def _commands(place: Place, lines: list[str]) -> Iterator[Command]:
    found: list[tuple[int, list[str], list[str]]] = []
    for number, line in enumerate(lines, place.line + 1):
        if line.startswith("$ "):
            found.append((number, [line[2:]], []))
        elif not found:
            raise PageError(f"{place}: a console block begins with a line '$ COMMAND'")
        elif line.startswith("> ") and not found[-1][2]:
            found[-1][1].append(line[2:])
        else:
            found[-1][2].append(line)
    for index, (number, command, shown) in enumerate(found):
        following = found[index + 1][1] if index + 1 < len(found) else []
        yield Command(
            Place(place.page, number),
            "\n".join(command),
            tuple(shown),
            code_is_shown=following == ["echo $?"],
        )


# --- comparing ------------------------------------------------------------------------------------


@dataclass
class Masked:
    """A line without what differs from run to run, and the pids that stood in it."""

    text: str
    pids: list[str] = field(default_factory=list)


def mask(line: str) -> Masked:
    """Collapse spaces and replace what the masks name by ``<name>``."""
    line = re.sub(r"\s+", " ", line).strip()
    spans: dict[tuple[int, int], str] = {}
    for pattern in MASKS.values():
        for found in re.finditer(pattern, f"{line} "):
            spans |= {found.span(name): name for name in found.groupdict()}
    masked = Masked("")
    end = 0
    for (start, stop), name in sorted(spans.items()):
        if start < end:
            continue  # a mask within another one
        masked.text += f"{line[end:start]}<{name}>"
        end = stop
        if name == "pid":
            masked.pids.append(line[start:stop])
    masked.text += line[end:]
    return masked


def matches(
    shown: tuple[str, ...], seen: list[str], start: int = 0
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each way in which *shown* fits the lines from *start* on.

    That is: the index behind the last line used, and the real pid for each pid shown.
    """
    if not shown:
        yield start, {}
    elif shown[0].strip() == ANY_LINES:
        for index in range(start, len(seen) + 1):
            yield from matches(shown[1:], seen, index)
    elif start < len(seen):
        expected, found = mask(shown[0]), mask(seen[start])
        if expected.text == found.text:
            pids = dict(zip(expected.pids, found.pids, strict=True))
            for end, later in matches(shown[1:], seen, start + 1):
                yield end, pids | later


def complaint(place: Place, problem: str, shown: tuple[str, ...], seen: list[str]) -> PageError:
    """Say what was expected and what was seen, as it is compared."""
    expected = "".join(f"\n  {mask(line).text}" for line in shown) or "\n  (nothing)"
    found = "".join(f"\n  {mask(line).text}" for line in seen) or "\n  (nothing)"
    return PageError(f"{place}: {problem}\nexpected:{expected}\nseen:{found}")
