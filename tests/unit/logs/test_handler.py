"""The file handler: where it writes, and what it does when it can't."""

from __future__ import annotations

import json
import logging
import logging.config
import os
from typing import TYPE_CHECKING, Any

import pytest
from support.forks import in_child

from tornado_multi import PerProcessFileHandler
from tornado_multi.logs.handler import forget_places, reopen_all, set_report
from tornado_multi.logs.plan import LogPlan, set_plan
from tornado_multi.process import identity

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger("handler_test")


@pytest.fixture
def use() -> Any:
    """Put a handler on the logger of these tests."""
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    made: list[logging.Handler] = []

    def put(handler: logging.Handler) -> logging.Handler:
        logger.addHandler(handler)
        made.append(handler)
        return handler

    yield put
    for handler in made:
        logger.removeHandler(handler)


def test_the_file_is_named_by_the_worker(use: Any, worker: None, tmp_path: Path) -> None:
    """NAME.FORK_ID.log in the directory of the plan, or in the handler's own."""
    set_plan(LogPlan("shop", str(tmp_path)))
    use(PerProcessFileHandler())
    use(PerProcessFileHandler("orders", directory=str(tmp_path / "more")))
    logger.info("hello")

    assert ["more", "shop.3.log"] == sorted(os.listdir(tmp_path))
    assert ["orders.3.log"] == os.listdir(tmp_path / "more")


def test_the_zygote_has_its_own_file(
    use: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is logged at import is no worker's."""
    monkeypatch.setattr(identity, "_generation", 1)
    set_plan(LogPlan("shop", str(tmp_path)))
    use(PerProcessFileHandler())
    logger.info("hello")

    assert ["shop.zygote.log"] == os.listdir(tmp_path)


def test_one_file_for_all_is_the_plans(use: Any, worker: None, tmp_path: Path) -> None:
    """With --log-file, names of handlers make no difference."""
    set_plan(LogPlan("shop", None, str(tmp_path / "all.log")))
    use(PerProcessFileHandler("orders"))
    logger.info("hello")

    assert ["all.log"] == os.listdir(tmp_path)


def test_without_a_place_records_go_to_standard_error(
    use: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a program that no supervisor runs."""
    use(PerProcessFileHandler("orders"))
    logger.info("hello")

    assert capsys.readouterr().err.endswith(": handler_test: hello\n")


def test_dict_config_finds_it(tmp_path: Path, worker: None) -> None:
    """By its public name, with its arguments, a level and a formatter."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"short": {"format": "%(levelname)s %(message)s"}},
            "handlers": {
                "files": {
                    "class": "tornado_multi.PerProcessFileHandler",
                    "name": "orders",
                    "directory": str(tmp_path),
                    "max_bytes": 1000,
                    "level": "WARNING",
                    "formatter": "short",
                }
            },
            "loggers": {"handler_test.configured": {"handlers": ["files"], "propagate": False}},
        }
    )
    configured = logging.getLogger("handler_test.configured")
    configured.info("not this")
    configured.warning("this")

    assert "WARNING this\n" == (tmp_path / "orders.3.log").read_text()


@pytest.mark.parametrize("name", ["", "a/b", "a\0b"])
def test_a_name_must_be_a_file_name(name: str) -> None:
    """It can't lead out of the directory."""
    with pytest.raises(ValueError, match="it names a file"):
        PerProcessFileHandler(name)


def test_what_utf8_cannot_say_is_escaped(use: Any, tmp_path: Path) -> None:
    """A file name with undecodable bytes is logged all the same."""
    use(PerProcessFileHandler("x", directory=str(tmp_path)))
    logger.info("caf\xe9 \udcff")

    assert (tmp_path / "x.log").read_text(encoding="utf-8").endswith("café \\udcff\n")


def test_a_record_that_cannot_be_formatted_hurts_nobody(
    use: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As everywhere in logging: the mistake is shown on standard error, the caller goes on."""
    handler = use(PerProcessFileHandler("x", directory=str(tmp_path)))
    # Straight to the handler: pytest's own, which hears every logger, would raise.
    handler.handle(logger.makeRecord(logger.name, logging.INFO, "f", 1, "%d", ("text",), None))
    logger.info("next")

    assert "--- Logging error ---" in capsys.readouterr().err
    assert 1 == len((tmp_path / "x.log").read_text().splitlines())


def test_a_full_disk_is_said_once_and_what_was_lost_is_counted(use: Any, tmp_path: Path) -> None:
    """Records are dropped, the program goes on, and the file says how many are missing."""
    said: list[tuple[str, str]] = []
    set_report(lambda key, text: said.append((key, text)))
    path = tmp_path / "x.log"
    path.symlink_to("/dev/full")
    use(PerProcessFileHandler("x", directory=str(tmp_path)))
    for number in range(5):
        logger.info("lost %d", number)
    path.unlink()
    logger.info("kept")
    logger.info("kept too")

    assert 1 == len(said)
    assert said[0][0].startswith(f"log {path} ")
    assert f"The log file {path} can't be written: No space left on device." in said[0][1]
    lines = path.read_text().splitlines()
    assert 3 == len(lines)
    wanted = "tornado_multi.logs: 5 records of this process were dropped here: No space left"
    assert wanted in lines[0]
    assert lines[1].endswith("kept")


def test_a_file_that_cannot_be_rotated_is_written_on(use: Any, tmp_path: Path) -> None:
    """Somebody has put a directory where the lock file should be: said once, no record is lost."""
    said: list[str] = []
    set_report(lambda _key, text: said.append(text))
    (tmp_path / "x.log.lock").mkdir()
    use(PerProcessFileHandler("x", directory=str(tmp_path), max_bytes=10))
    for number in range(5):
        logger.info("kept %d", number)
    (tmp_path / "x.log.lock").rmdir()
    logger.info("in a new file")

    assert 1 == len(said)
    assert f"The log file {tmp_path}/x.log can't be rotated: Is a directory. It grows" in said[0]
    assert 5 == len((tmp_path / "x.log.1").read_text().splitlines())


def test_who_cannot_be_told_hurts_nobody(use: Any, tmp_path: Path) -> None:
    """The supervisor has gone, the loop is closed: logging does not raise."""

    def fail(_key: str, _text: str) -> None:
        raise RuntimeError("closed")

    set_report(fail)
    (tmp_path / "x.log").symlink_to("/dev/full")
    use(PerProcessFileHandler("x", directory=str(tmp_path)))
    logger.info("lost")


def test_without_a_supervisor_standard_error_is_told(
    use: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plain program has nobody else."""
    (tmp_path / "x.log").symlink_to("/dev/full")
    use(PerProcessFileHandler("x", directory=str(tmp_path)))
    logger.info("lost")
    logger.info("lost")

    assert 1 == capsys.readouterr().err.count("can't be written")


def test_reopening_makes_no_file(use: Any, tmp_path: Path) -> None:
    """The descriptor is given back; the file comes with the next record."""
    use(PerProcessFileHandler("x", directory=str(tmp_path)))
    logger.info("one")
    (tmp_path / "x.log").rename(tmp_path / "x.log.1")
    reopen_all()

    assert ["x.log.1"] == os.listdir(tmp_path)
    assert [] == open_below(tmp_path)

    logger.info("two")

    assert 1 == len((tmp_path / "x.log").read_text().splitlines())


def test_a_closed_handler_opens_again(use: Any, tmp_path: Path) -> None:
    """``logging.shutdown`` closes all handlers before the last exit handlers log."""
    handler = use(PerProcessFileHandler("x", directory=str(tmp_path)))
    logger.info("one")
    handler.close()
    logger.info("two")

    assert 2 == len((tmp_path / "x.log").read_text().splitlines())


def test_a_forked_process_finds_its_own_file(use: Any, tmp_path: Path) -> None:
    """The zygote's file is let go of in the fork; the worker's is opened by its first record."""
    set_plan(LogPlan("shop", str(tmp_path), None, "json"))
    identity.set_generation(1)
    use(PerProcessFileHandler())
    logger.info("import")

    def act() -> list[str]:
        held = open_below(tmp_path)
        identity.set_fork_id(7)
        logger.info("request")
        return held

    assert [] == in_child(act)
    assert ["shop.7.log", "shop.zygote.log"] == sorted(os.listdir(tmp_path))
    fields = json.loads((tmp_path / "shop.7.log").read_text())
    assert (7, 1, "request") == (fields["fork_id"], fields["generation"], fields["text"])


def test_a_plan_that_comes_later_is_followed(use: Any, tmp_path: Path) -> None:
    """A script makes its handlers before it is told where to log."""
    use(PerProcessFileHandler("x"))
    set_plan(LogPlan("shop", str(tmp_path)))
    forget_places()
    logger.info("hello")

    assert ["x.log"] == os.listdir(tmp_path)


def open_below(directory: Path) -> list[str]:
    found = [
        os.readlink(f"/proc/self/fd/{fd}")
        for fd in os.listdir("/proc/self/fd")
        if os.path.lexists(f"/proc/self/fd/{fd}")
    ]
    return [path for path in found if path.startswith(str(directory))]
