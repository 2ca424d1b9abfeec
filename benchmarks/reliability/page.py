"""The page of the docs: what is done, what came out, where another does better. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.reliability.systems import OURS, SYSTEMS, Wish

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.reliability.outcome import Outcome
    from benchmarks.reliability.scenarios import Scenario
    from benchmarks.reliability.systems import System

    Results = Mapping[tuple[str, str], Outcome]
    """By the key of the scenario and the name of the system."""

FASTER_BY = 1.5
"""A time is called better if ours is so many times longer and FASTER_BY_S longer: below is noise."""
FASTER_BY_S = 0.25

HEAD = """\
# Reliability, compared

What `make bench-reliability` did to five systems in one run on one machine, and what they did then.
The command installs the others from PyPI into an environment of its own, runs every scenario against every system one after the other, and writes this page; rows that are bad for tornado_multi stand here like good ones.
`.venv/bin/python -m benchmarks.reliability -h` says how one scenario or one system is run alone.

It is one run of each, so read it as behaviour, not as speed: which requests failed, which processes were left, whether somebody looked.
Times are of a machine with few cores that did other work too.
"""

HOW = """\
## How it is measured

- tornado_multi, gunicorn with its tornado worker, and Tornado's own `fork_processes` serve the same Tornado app; uvicorn and granian serve an ASGI app with the same paths and answers.
- Every system has the options below, which allow the same time to requests in progress, and 2 workers unless the scenario says otherwise.
- A reload is the signal HUP, and it has ended when every old worker is gone and all new ones have loaded the app.
- A request is a success if the status is 200 and the body is exactly right; everything else is a failure: refused, reset, empty (closed without an answer), timeout (10 s), other.
- Clients obey `Connection: close`, and a failure on a connection belongs to the worker that answered on it before.
- Where a worker is killed, the requests that it had in hand are lost under every system, and how many that were is chance; "of others' clients" counts the failures of everybody else, and in S8 those of the healthy sibling's clients.
- Who pauses between attempts (S8) takes longer to be whole after the mend, and who does not starts processes all the time until then.
- Survivors are processes of the system's session that have not ended, whoever their parent is.
- "Whole again" means that as many workers as wanted have loaded the app.
- "-" means that the scenario does not apply, and says why.
"""

BETTER = "## Where another does better"


def render_page(
    scenarios: Sequence[Scenario],
    systems: Sequence[System],
    results: Results,
    titles: Mapping[str, str],
    conditions: str,
) -> str:
    """Return the whole page.

    Args:
        titles: by the name of the system; with versions.
        conditions: one line on interpreter and machine.
    """
    parts = [
        HEAD,
        f"{conditions}\n",
        render_table(scenarios, systems, results, titles),
        BETTER,
        "",
        *better_elsewhere(scenarios, systems, results),
        "",
        "## What is done",
        "",
        "| | scenario | what is done | it passes when |",
        "| - | - | - | - |",
        *(f"| {s.key} | {s.title} | {s.does} | {s.passes_when} |" for s in scenarios),
        "",
        HOW,
        "Options are written here without their dashes:\n",
        *(f"- {system.name}: `{_options(system)}`" for system in systems),
    ]
    return "\n".join(parts) + "\n"


def render_table(
    scenarios: Sequence[Scenario],
    systems: Sequence[System],
    results: Results,
    titles: Mapping[str, str],
) -> str:
    """Return the table of results; a cell that was not run is empty."""
    lines = [
        f"| scenario | {' | '.join(titles[system.name] for system in systems)} |",
        f"| - |{' - |' * len(systems)}",
    ]
    for scenario in scenarios:
        found = [results.get((scenario.key, system.name)) for system in systems]
        cells = [outcome.cell() if outcome else "" for outcome in found]
        lines.append(f"| {scenario.key} {scenario.title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def better_elsewhere(
    scenarios: Sequence[Scenario], systems: Sequence[System], results: Results
) -> list[str]:
    """Return one line for everything in which another system did better than ours."""
    lines = []
    for scenario in scenarios:
        ours = results.get((scenario.key, OURS))
        if ours is None:
            continue
        for system in systems:
            theirs = results.get((scenario.key, system.name))
            if system.name != OURS and theirs is not None:
                lines += [
                    f"- {scenario.key}, {scenario.title}: {system.name} {how}."
                    for how in _advantages(ours, theirs)
                ]
    return lines or ["In this run, nowhere."]


def _advantages(ours: Outcome, theirs: Outcome) -> list[str]:
    if theirs.passed is not True:
        return []
    if ours.passed is None:
        return ["passes, and tornado_multi has no such thing yet"]
    if ours.passed is False:
        return ["passes, and tornado_multi does not"]
    found = []
    if theirs.failed_count < ours.failed_count:
        found.append(f"fails {theirs.failed_count} requests and tornado_multi {ours.failed_count}")
    if theirs.time_s is not None and ours.time_s is not None:
        longer_s = ours.time_s - theirs.time_s
        if longer_s > FASTER_BY_S and ours.time_s > FASTER_BY * theirs.time_s:
            took = f"{theirs.time_s:.2f} s, tornado_multi {ours.time_s:.2f} s"
            found.append(f"is faster: {theirs.time_name} {took}")
    return found


def missed_promises(scenarios: Sequence[Scenario], results: Results) -> list[str]:
    """Return the graceful scenarios in which requests failed under ours."""
    ours = {s.key: results.get((s.key, OURS)) for s in scenarios if s.graceful}
    return [key for key, outcome in ours.items() if outcome and outcome.failed_count]


def _options(system: System) -> str:
    shown = Wish(port=8888, directory="...", worker_timeout_s=3)
    words = ["python", *system.arguments(shown)]
    return " ".join(word.lstrip("-") if word.startswith("--") else word for word in words)


def titles_of(versions: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return the column heads: each system with the versions of its packages.

    Args: versions: by the name of the system, then of the package.
    """
    return {
        system.name: f"{system.name} ({', '.join(f'{n} {v}' for n, v in found.items())})"
        for system in SYSTEMS
        if (found := versions.get(system.name)) is not None
    }
