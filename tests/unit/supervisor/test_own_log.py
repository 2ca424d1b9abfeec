"""The supervisor's own lines in the log files."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tornado_multi.logs.append_file import AppendFile
from tornado_multi.logs.merge import Entry, Reader
from tornado_multi.logs.rotation import Rotation
from tornado_multi.process.account import Account
from tornado_multi.settings.model import LoggingSettings
from tornado_multi.supervisor.events import Say
from tornado_multi.supervisor.own_log import OwnLog, open_own_log, path_of, record_of
from tornado_multi.supervisor.report import Reporter
from tornado_multi.supervisor.status import LogPlace

if TYPE_CHECKING:
    from collections.abc import Iterator

AT = datetime(2026, 11, 25, 10, tzinfo=UTC)
DEATH = Say("warning", "worker fork_id=2 gen=1 pid=9", "Died.\nTraceback\r", {"cause": "killed"})


def read(*records: str) -> list[Entry]:
    reader = Reader()
    lines = "".join(records).splitlines()
    return [*reader.feed(lines), *reader.flush()]


def own_log(path: Path, said: list[str]) -> OwnLog:
    return OwnLog(AppendFile(str(path), Rotation()), None, said.append)


@pytest.mark.parametrize(
    ("place", "path"),
    [
        (LogPlace(), None),
        (LogPlace("/logs"), "/logs/shop.supervisor.log"),
        (LogPlace("/logs", "/logs/all.log"), "/logs/all.log"),
    ],
)
def test_it_stands_beside_the_workers_files(place: LogPlace, path: str | None) -> None:
    """Or in the one file; without files there is none."""
    assert path == path_of(place, "shop")


@pytest.mark.parametrize("form", ["text", "json"])
def test_logs_reads_it_and_knows_whom_it_speaks_of(form: str) -> None:
    """A record is one, whatever its text; what is said of a worker counts as that worker's."""
    service = Say("info", "supervisor", "Stopped.")
    found = read(*(record_of(form, AT, said) for said in (DEATH, service)))  # type: ignore[arg-type]  # of the parameters

    assert [(AT.timestamp(), 30, 2), (AT.timestamp(), 20, None)] == [
        (entry.time_s, entry.level, entry.fork_id) for entry in found
    ]
    assert "Traceback" in found[0].text


def test_the_two_forms() -> None:
    """Those of the workers' records and of standard error."""
    assert (
        "2026-11-25 10:00:00.000000+00:00 WARNING  worker fork_id=2 gen=1 pid=9: Died.\n"
        "    Traceback\\r\n"
    ) == record_of("text", AT, DEATH)
    assert {
        "time": "2026-11-25T10:00:00+00:00",
        "level": "warning",
        "who": "worker fork_id=2 gen=1 pid=9",
        "text": "Died.\nTraceback\r",
        "cause": "killed",
    } == json.loads(record_of("json", AT, DEATH))


def test_lines_wait_for_the_directory(tmp_path: Path) -> None:
    """The first zygote makes it, as the app's user maybe; nothing of before is lost."""
    log = own_log(tmp_path / "logs" / "x.log", [])
    log.write("first\n")
    (tmp_path / "logs").mkdir()
    log.write("second\n")

    assert "first\nsecond\n" == (tmp_path / "logs" / "x.log").read_text()


def test_a_file_that_cannot_be_written_is_told_once(tmp_path: Path) -> None:
    """When it can be again, it says how much is missing."""
    path = tmp_path / "x.log"
    path.mkdir()
    said: list[str] = []
    log = own_log(path, said)
    log.write("one\n")
    log.write("two\n")

    (sentence,) = said
    assert sentence == (
        f"The log file {path} can't be written: Is a directory. The service goes on; what the "
        "supervisor says is on standard error alone until the file can be written again."
    )

    path.rmdir()
    log.write("three\n")

    assert "... 2 lines were dropped here ...\nthree\n" == path.read_text()


def test_everything_that_is_said_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lines, the startup block and the reason of a failure."""
    path = tmp_path / "x.log"
    stream = open_own_log(str(path), LoggingSettings(), None, pytest.fail)
    reporter = Reporter("text", own_log=stream)
    reporter.block(["  app  shop"], "Ready.", {})
    reporter.say(DEATH)
    reporter.failure("It failed.", "detail\n")
    stream.close()
    kept = [line[33:] for line in path.read_text().splitlines() if line[0] != " "]

    assert [
        "INFO     supervisor: Ready.",
        "WARNING  worker fork_id=2 gen=1 pid=9: Died.",
        "ERROR    supervisor: It failed.",
    ] == kept
    assert "      app  shop\n" in path.read_text()
    assert "  app  shop\n" == capsys.readouterr().out


@pytest.fixture
def users_place() -> Iterator[Path]:
    """A directory that every user can get to; those of pytest are its own user's."""
    place = Path(tempfile.mkdtemp(prefix="tornado_multi_own_log_"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take on another user's rights")
def test_a_file_in_a_users_directory_is_written_with_that_users_rights(users_place: Path) -> None:
    """A link that the user has put there leads to nothing that the user could not write by itself;
    and the thread's rights are the thread's alone.
    """
    logs, secret, mine = (users_place / name for name in ("logs", "secret", "mine"))
    logs.mkdir()
    os.chown(logs, 65534, 65534)
    secret.touch(0o600)
    (logs / "bad.log").symlink_to(secret)
    account = Account(65534, 65534, (65534,), None, None)
    said: list[str] = []
    for name in ("good.log", "bad.log"):
        stream = open_own_log(str(logs / name), LoggingSettings(), account, said.append)
        stream.write("said\n")
        stream.close()
    mine.touch()
    good = logs / "good.log"

    assert (65534, "said\n") == (good.stat().st_uid, good.read_text())
    assert "" == secret.read_text()
    assert 1 == len(said)
    assert "Permission denied" in said[0]
    assert 0 == mine.stat().st_uid
