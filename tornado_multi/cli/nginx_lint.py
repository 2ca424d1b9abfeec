"""``nginx lint``: name what in an existing configuration would hurt the app behind it."""

from __future__ import annotations

import errno
import glob
import json
import os
from typing import TYPE_CHECKING

from tornado_multi.deploy.nginx.including import read_all
from tornado_multi.deploy.nginx.lint import lint, passes_requests, to_plain
from tornado_multi.deploy.nginx.linting.values import size_text
from tornado_multi.deploy.nginx.program import ProgramError, find_program
from tornado_multi.deploy.nginx.reading import ReadingError
from tornado_multi.deploy.nginx.versions import Nginx, Version
from tornado_multi.forksafety.findings import headline, printable, summary
from tornado_multi.process.exit_codes import ExitCode
from tornado_multi.settings.load import UsageError
from tornado_multi.settings.model import HttpSettings

if TYPE_CHECKING:
    from tornado_multi.deploy.nginx.linting.kinds import Finding

STANDARD_INPUT = "/dev/stdin"
"""As the command line's - is handed over."""
MOST_FILE_BYTES = 16 * 1024 * 1024
"""No configuration is as large; a device such as /dev/zero never ends."""


class Files:
    """The files of this machine."""

    def read(self, path: str) -> str:
        with open(path, "rb") as file:
            data = file.read(MOST_FILE_BYTES + 1)
        if len(data) > MOST_FILE_BYTES:
            raise OSError(errno.EFBIG, f"it has more than {MOST_FILE_BYTES} bytes")
        # nginx doesn't mind the encoding, so that any bytes must pass.
        return data.decode("utf-8", "surrogateescape")

    def glob(self, pattern: str) -> list[str]:
        return sorted(glob.glob(pattern))


def nginx_lint(file: str, http: HttpSettings, *, version: str | None, as_json: bool) -> int:
    """Read, judge and print. Returns the exit code: 1 for errors and warnings.

    Raises: UsageError: the configuration can't be read, or the version is none.
    """
    nginx, where = _nginx(version)
    directory = os.getcwd() if file == STANDARD_INPUT else os.path.dirname(os.path.abspath(file))
    try:
        tree = read_all(file, Files(), directory)
    except ReadingError as error:
        raise UsageError(printable(str(error))) from error
    findings = lint(tree, http, nginx=nginx)
    if as_json:
        print(json.dumps([_printable(one) for one in findings], indent=2, ensure_ascii=False))
    else:
        _print(file, findings, is_proxy=passes_requests(tree))
        print(f"\n{_assumed(http)} {where}")
    needs_act = any(one.severity.word != "info" for one in findings)
    return int(ExitCode.NO if needs_act else ExitCode.DONE)


def _print(file: str, findings: tuple[Finding, ...], *, is_proxy: bool) -> None:
    words = [one.severity.word for one in findings]
    said = summary(words.count("error"), words.count("warning"))
    if not is_proxy:
        print(f"{printable(file)} passes no requests to an app: there is nothing to judge.")
    elif not findings:
        print(f"Nothing found in {printable(file)}.")
    else:
        print(f"{'Nothing that must be mended' if said == 'clean' else said} in {printable(file)}")
    for index, one in enumerate(findings):
        if index == 0 or one.severity != findings[index - 1].severity:
            print()
        plain = _printable(one)
        print(headline({"word": plain["severity"], "via": None, **plain}))
        for text in (plain["harm"], f"Mend: {plain['mend']}", f"Kind: {plain['kind']}"):
            print(f"         {text}")


def _printable(finding: Finding) -> dict[str, str | int]:
    return {
        key: printable(value) if isinstance(value, str) else value
        for key, value in to_plain(finding).items()
    }


def _assumed(http: HttpSettings) -> str:
    default = HttpSettings()
    size, idle_s = http.max_body_size_bytes, http.idle_timeout_s
    sizes = "the default" if size == default.max_body_size_bytes else "as set"
    idles = "the default" if idle_s == default.idle_timeout_s else "as set"
    return (
        f"Judged for an app with http.max_body_size_bytes={size} ({sizes}; {size_text(size)} for "
        f"nginx) and http.idle_timeout_s={idle_s:g} ({idles})."
    )


def _nginx(given: str | None) -> tuple[Nginx | None, str]:
    """Return nginx, if its version is known, and a sentence on where that is from."""
    if given is not None:
        try:
            return Nginx(Version.parse(given)), f"Judged for nginx {given}."
        except ValueError as error:
            raise UsageError(f"nginx_version={given}: {error}") from error
    try:
        found = find_program("nginx").nginx
    except ProgramError:
        return None, "There is no nginx here: --nginx-version says for which one to judge."
    return found, f"Judged for nginx {found.version}, which is here."
