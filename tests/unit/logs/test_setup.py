"""What a process of the service does to logging, and what it leaves alone."""

from __future__ import annotations

import json
import logging
import logging.config
import os
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING, Any, Literal

import pytest
from tornado import log as tornado_log
from tornado.options import OptionParser

import tornado_multi
from tornado_multi.logs import tornado_options
from tornado_multi.logs.handler import PerProcessFileHandler, StderrHandler
from tornado_multi.logs.plan import LogPlan
from tornado_multi.logs.rotation import Rotation
from tornado_multi.logs.setup import (
    LogPlaceError,
    begin_logs,
    check_place,
    make_directory,
    renew_logs,
)
from tornado_multi.process.account import Account

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IS_ROOT = os.geteuid() == 0


def root() -> logging.Logger:
    return logging.getLogger()


def begin_bare(plan: LogPlan) -> None:
    """Begin without pytest's own handlers, which come after the fixtures."""
    root().handlers.clear()
    begin_logs(plan)


def ours() -> list[PerProcessFileHandler]:
    return [item for item in root().handlers if isinstance(item, PerProcessFileHandler)]


def test_with_files_the_root_logger_has_one_handler(tmp_path: Path, worker: None) -> None:
    """However often a process is set up; the access log is shown from then on."""
    begin_logs(LogPlan("shop", str(tmp_path)))
    renew_logs()

    assert [str(tmp_path / "shop.3.log")] == [handler.path for handler in ours()]
    assert logging.INFO == root().level


def test_without_files_only_the_last_resort_is_ours(capsys: pytest.CaptureFixture[str]) -> None:
    """An app that calls ``basicConfig`` finds no handler, as it expects."""
    begin_logs(LogPlan("shop"))

    assert [] == ours()
    assert isinstance(logging.lastResort, StderrHandler)
    assert (logging.WARNING, logging.WARNING) == (root().level, logging.lastResort.level)

    logging.lastResort.handle(logging.LogRecord("shop", 40, "", 1, "said", None, None))

    assert capsys.readouterr().err.endswith(": shop: said\n")


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_nobody_set_up_keeps_our_form(
    capsys: pytest.CaptureFixture[str], form: Literal["text", "json"]
) -> None:
    """``logging.warning`` would set up Python's own form for all that follows; whoever is not
    filtered by a level is shown from then on, as with Python's handler.
    """
    begin_bare(LogPlan("shop", form=form))
    logging.warning("implicit")  # noqa: LOG015 - this is what apps do
    logging.getLogger("shop").error("later")
    root().setLevel(logging.INFO)
    logging.info("told")  # noqa: LOG015 - as above
    said = capsys.readouterr().err.splitlines()

    assert [] == root().handlers
    assert 3 == len(said)
    if form == "json":
        assert ["implicit", "later", "told"] == [json.loads(line)["text"] for line in said]
    else:
        assert [": root: implicit", ": shop: later", ": root: told"] == [
            line[line.index(": ") :] for line in said
        ]


@pytest.mark.parametrize(
    "configure",
    [
        lambda: logging.basicConfig(format="own %(message)s"),
        lambda: logging.basicConfig(force=True, format="own %(message)s"),
        lambda: logging.config.dictConfig(
            {
                "version": 1,
                "disable_existing_loggers": False,
                "formatters": {"own": {"format": "own %(message)s"}},
                "handlers": {"err": {"class": "logging.StreamHandler", "formatter": "own"}},
                "root": {"handlers": ["err"]},
            }
        ),
    ],
    ids=["basicConfig", "force", "dictConfig"],
)
def test_what_an_app_sets_up_is_what_it_gets(
    capsys: pytest.CaptureFixture[str], configure: Callable[[], None]
) -> None:
    """Also when something was logged before, where Python would have ignored ``basicConfig``."""
    begin_bare(LogPlan("shop"))
    logging.warning("before")  # noqa: LOG015 - this is what apps do
    configure()
    logging.getLogger("setup_test").warning("after")

    assert "own after" == capsys.readouterr().err.splitlines()[-1]


def test_an_app_may_ask_for_pythons_own_form(capsys: pytest.CaptureFixture[str]) -> None:
    """``basicConfig()`` without arguments, called by the app itself, is a setup like any other."""
    begin_bare(LogPlan("shop"))
    begin_logs(LogPlan("shop"))
    logging.basicConfig()
    logging.warning("said")  # noqa: LOG015 - this is what apps do

    assert "WARNING:root:said\n" == capsys.readouterr().err


def test_a_level_that_is_given_holds_until_the_app_sets_another(tmp_path: Path) -> None:
    """The app is imported after this, and comes last."""
    begin_logs(LogPlan("shop", level="debug"))

    assert isinstance(logging.lastResort, logging.Handler)
    assert (logging.DEBUG, logging.NOTSET) == (root().level, logging.lastResort.level)

    root().setLevel(logging.ERROR)
    begin_logs(LogPlan("shop", str(tmp_path)))

    assert logging.ERROR == root().level


def test_an_app_that_removed_the_handler_gets_it_again(tmp_path: Path) -> None:
    """``dictConfig`` in a factory clears the root logger; --log-dir was asked for all the same."""
    begin_logs(LogPlan("shop", str(tmp_path)))
    root().handlers.clear()
    renew_logs()

    assert 1 == len(ours())


def test_an_app_that_has_our_handler_is_left_alone(tmp_path: Path) -> None:
    """It has configured level and formatter in its own way."""
    begin_logs(LogPlan("shop", str(tmp_path)))
    own = PerProcessFileHandler("own")
    root().handlers[:] = [own]
    renew_logs()

    assert [own] == root().handlers


def test_a_logger_has_its_own_file(tmp_path: Path, worker: None) -> None:
    """Asked for at import, before it is known where to log; its records are in no other file."""
    logger = tornado_multi.get_logger("setup_test.orders")
    begin_logs(LogPlan("shop", str(tmp_path)))
    tornado_multi.get_logger("setup_test.orders").error("an order")
    logger.handlers.clear()
    logger.propagate = True

    assert ["setup_test.orders.3.log"] == os.listdir(tmp_path)
    assert 1 == len((tmp_path / "setup_test.orders.3.log").read_text().splitlines())


def test_without_a_directory_a_logger_is_pythons(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """In tests, notebooks and with --log-file: records go the usual way."""
    logger = tornado_multi.get_logger("setup_test.plain")
    begin_logs(LogPlan("shop", None, str(tmp_path / "all.log")))

    assert logger is logging.getLogger("setup_test.plain")
    assert (True, []) == (logger.propagate, logger.handlers)


def test_a_program_of_its_own_names_the_directory(tmp_path: Path) -> None:
    """No supervisor, no fork_id: NAME.log."""
    logger = tornado_multi.get_logger("setup_test.script", directory=str(tmp_path))
    tornado_multi.get_logger("setup_test.script", directory=str(tmp_path)).error("said")
    logger.handlers.clear()
    logger.propagate = True

    assert 1 == len((tmp_path / "setup_test.script.log").read_text().splitlines())


def test_tornados_own_fork_gives_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``tornado.process.fork_processes``, without our supervision: its task id is the fork_id."""
    import tornado.process

    monkeypatch.setattr(tornado.process, "_task_id", 5)
    logger = tornado_multi.get_logger("setup_test.forked", directory=str(tmp_path))
    logger.error("said")
    logger.handlers.clear()
    logger.propagate = True

    assert ["setup_test.forked.5.log"] == os.listdir(tmp_path)


@pytest.mark.parametrize("name", ["", "a/b"])
def test_a_logger_with_a_file_needs_a_file_name(name: str) -> None:
    """The sentence says why."""
    with pytest.raises(ValueError, match="it names a file"):
        tornado_multi.get_logger(name)


# --- the place ------------------------------------------------------------------------------------


def test_a_missing_directory_is_made(tmp_path: Path) -> None:
    """With all that is missing above it."""
    plan = LogPlan("shop", str(tmp_path / "a" / "b"))
    make_directory(plan, None)
    make_directory(plan, None)
    check_place(plan)

    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.skipif(not IS_ROOT, reason="only root can give a directory away")
def test_a_directory_that_is_made_belongs_to_the_apps_user(tmp_path: Path) -> None:
    """Root makes it where the app's user could not; what was there keeps its owner."""
    account = Account(65534, 65533, (65533,), None, None)
    make_directory(LogPlan("shop", None, str(tmp_path / "a" / "b" / "x.log")), account)
    made = [(tmp_path / name).stat() for name in (".", "a", "a/b")]

    assert [(0, 0), (65534, 65533), (65534, 65533)] == [(item.st_uid, item.st_gid) for item in made]


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (LogPlan("s", "{0}/file"), "log_dir={0}/file: {0}/file is no directory."),
        (
            LogPlan("s", "{0}/file/d"),
            "log_dir={0}/file/d: {0}/file/d can't be made: Not a directory.",
        ),
        (LogPlan("s", None, "{0}"), "log_file={0}: user {1} can't write to that file."),
    ],
)
def test_a_place_that_can_be_no_place_is_refused(tmp_path: Path, plan: LogPlan, said: str) -> None:
    """At the start, with the option, and not with the first record."""
    (tmp_path / "file").touch()
    directory = plan.directory and plan.directory.format(tmp_path)
    plan = LogPlan(plan.name, directory, plan.file and plan.file.format(tmp_path))

    def take() -> None:
        make_directory(plan, None)
        check_place(plan)

    with pytest.raises(LogPlaceError) as refused:
        take()

    assert said.format(tmp_path, os.geteuid()) == str(refused.value)


def test_a_directory_that_others_own_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is never rotated needs no right to the directory; one that is does."""
    path = tmp_path / "x.log"
    path.touch()
    directory = str(tmp_path)
    monkeypatch.setattr(os, "access", lambda name, _mode: str(name) != directory)
    check_place(LogPlan("s", None, str(path)))
    for plan in (
        LogPlan("s", directory),
        LogPlan("s", None, str(path), rotation=Rotation(max_bytes=1)),
    ):
        with pytest.raises(LogPlaceError, match="can't make files in") as refused:
            check_place(plan)

        assert f"user {os.geteuid()} can't make files in {directory}. Let the" in str(refused.value)


# --- Tornado's options ----------------------------------------------------------------------------


def parse(**values: Any) -> OptionParser:
    options = OptionParser()
    tornado_log.define_logging_options(options)
    for name, value in values.items():
        setattr(options, name, value)
    return options


@pytest.mark.parametrize("prefix", ["shop", "shop.log"])
def test_log_file_prefix_is_a_file_per_worker(tmp_path: Path, worker: None, prefix: str) -> None:
    """Tornado would open one file in all of them, and rotate it under them."""
    begin_bare(LogPlan("s"))
    options = parse(log_file_prefix=str(tmp_path / prefix), logging="info")
    options.run_parse_callbacks()
    options.run_parse_callbacks()
    logging.getLogger("setup_test").info("hello")

    assert ["shop.3.log", "shop.3.log.lock"] == sorted({*os.listdir(tmp_path), "shop.3.log.lock"})
    assert 1 == len(root().handlers)
    line = (tmp_path / "shop.3.log").read_text()
    assert line.startswith("[I ")
    assert line.endswith("] hello\n")


def test_tornados_sizes_and_periods_hold(tmp_path: Path) -> None:
    """What its options say of rotation is what ours does."""
    begin_bare(LogPlan("s"))
    prefix = str(tmp_path / "x")
    parse(log_file_prefix=prefix, log_file_max_size=7, log_file_num_backups=3).run_parse_callbacks()
    parse(
        log_file_prefix=prefix + "2",
        log_rotate_mode="time",
        log_rotate_when="H",
        log_rotate_interval=6,
    ).run_parse_callbacks()

    assert [Rotation(7, None, 3), Rotation(0, 6 * 3600, 10)] == [
        handler._rotation() for handler in ours()
    ]


def test_tornados_stderr_stays_tornados() -> None:
    """Without a file its own handler is added, if there is none, and its level is set."""
    begin_bare(LogPlan("s"))
    parse(logging="debug").run_parse_callbacks()
    found = root().handlers

    assert [tornado_log.LogFormatter] == [type(handler.formatter) for handler in found]
    assert logging.DEBUG == root().level


def test_tornado_is_told_not_to_log(tmp_path: Path) -> None:
    """``--logging=none`` leaves everything alone."""
    begin_bare(LogPlan("s"))
    parse(logging="none", log_file_prefix=str(tmp_path / "x")).run_parse_callbacks()

    assert [] == root().handlers


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"log_rotate_mode": "often"}, "log_rotate_mode=often: must be size or time."),
        (
            {"log_rotate_mode": "time", "log_rotate_when": "X"},
            "log_rotate_when=X: must be S, M, H, D, midnight or W0 to W6.",
        ),
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, values: dict[str, Any], said: str) -> None:
    """As Tornado does."""
    begin_bare(LogPlan("s"))
    options = parse(log_file_prefix=str(tmp_path / "x"), **values)
    with pytest.raises(ValueError, match=said.replace(".", "[.]")):
        options.run_parse_callbacks()


def test_a_handler_from_before_the_fork_is_replaced(
    tmp_path: Path, worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script parses its options before it forks: Tornado has opened the file by then."""
    import tornado.options

    prefix = str(tmp_path / "x.log")
    monkeypatch.setattr(tornado.options, "options", parse(log_file_prefix=prefix))
    inherited = RotatingFileHandler(prefix)
    other = RotatingFileHandler(tmp_path / "other.log", delay=True)
    root().handlers[:] = [inherited, other]
    tornado_options.mend_inherited_handlers()

    assert other is root().handlers[0]
    assert [str(tmp_path / "x.3.log")] == [handler.path for handler in ours()]
    assert inherited.stream is None
