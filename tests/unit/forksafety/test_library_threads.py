"""Threads are put together by the library that has started them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from tornado_multi.forksafety.findings import Severity, Site
from tornado_multi.forksafety.library_threads import NAMES, RULES, group, module_of
from tornado_multi.forksafety.recorder import Recorder
from tornado_multi.forksafety.threads import NativeThread

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE = Site("/srv/shop/shop.py", 3)
KAZOO = Site("/srv/shop/shop.py", 4, via="kazoo/client.py")


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Lets the threads of a test end."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """One that is asked only, with the lines that a test gives it."""
    made = Recorder()
    lines: dict[object, Site] = {}
    monkeypatch.setattr(made, "lines", lines, raising=False)
    monkeypatch.setattr(made, "site_of", lines.get)
    return made


def start(recorder: Recorder, release: threading.Event, name: str, site: Site) -> threading.Thread:
    thread = threading.Thread(target=release.wait, name=name, daemon=True)
    thread.start()
    recorder.lines[thread] = site  # type: ignore[attr-defined]
    return thread


def test_threads_of_one_line_and_library_are_one_group(
    recorder: Recorder, release: threading.Event
) -> None:
    """Their names are listed, three of them; the app's own stay apart."""
    threads = [
        *(start(recorder, release, f"worker-{number}", KAZOO) for number in range(4)),
        start(recorder, release, "mine", LINE),
        start(recorder, release, "mine too", LINE),
    ]
    found = group(threads, [], recorder)

    assert ["kazoo", "", ""] == [item.module for item in found]
    assert found[0].what == (
        'ZooKeeper client that is started: threads "worker-0", "worker-1", "worker-2" and 1 more'
    )
    assert found[1].what.startswith('thread "mine" is running')


@pytest.mark.parametrize(
    "via", ["sentry_sdk/integrations/threading.py", "opentelemetry/instrumentation/threading/a.py"]
)
def test_who_patches_threads_has_not_started_them(
    recorder: Recorder, release: threading.Event, via: str
) -> None:
    """A thread of the app stays the app's when a library stands before Thread.start."""
    site = Site("/srv/shop/shop.py", 5, via=via)
    found = group([start(recorder, release, "mine", site)], [], recorder)

    assert [("", None)] == [(item.module, item.rule) for item in found]


def test_a_library_that_is_not_known_is_named_by_its_file(
    recorder: Recorder, release: threading.Event
) -> None:
    """There are no words for it, but its threads are one group."""
    site = Site("/srv/shop/shop.py", 5, via="poller/core.py")
    threads = [start(recorder, release, name, site) for name in ("a", "b")]

    assert ['threads "a", "b"'] == [item.what for item in group(threads, [], recorder)]


def test_native_threads_are_known_by_name_and_join_the_line_of_one(recorder: Recorder) -> None:
    """Of some the line is not known, or known wrongly because they began late."""
    recorder.native_threads |= {2: ("", LINE), 3: ("numpy", Site("/srv/shop/shop.py", 9))}
    natives = [NativeThread(number, "rdk:main") for number in (1, 2, 3)]
    found = group([], natives, recorder)

    assert [("confluent_kafka", LINE, 3)] == [
        (item.module, item.site, len(item.names)) for item in found
    ]


def test_what_is_allowed_stays_apart(recorder: Recorder) -> None:
    """A fork_safe block speaks for the threads that it has started, and for no others."""
    recorder.allowed_threads[2] = "it is only asked before the fork"
    natives = [NativeThread(number, "rdk:main") for number in (1, 2)]
    found = group([], natives, recorder)

    assert [None, "it is only asked before the fork"] == [
        item.site.allowed if item.site else None for item in found
    ]


def test_a_thread_that_nothing_is_known_of(recorder: Recorder) -> None:
    """It is a finding of its own."""
    natives = [NativeThread(1, "python"), NativeThread(2, "python")]

    assert ['native thread "python"'] * 2 == [item.what for item in group([], natives, recorder)]


def test_the_module_is_that_of_the_file() -> None:
    """By the way from the app's line, or by where the library itself lies."""
    assert "kazoo" == module_of(KAZOO)
    assert "kafka" == module_of(Site("/usr/lib/python3/site-packages/kafka/producer/sender.py", 1))
    assert "six" == module_of(Site("/usr/lib/python3/dist-packages/six.py", 1))
    assert "" == module_of(LINE)
    assert "" == module_of(None)


def test_every_rule_speaks_in_sentences_and_every_name_has_one() -> None:
    """What is shown to people can be read by them."""
    for rule in RULES.values():
        assert rule.harm.endswith(".")
        assert rule.mend.endswith(".")
        assert rule.mend != "nothing." or rule.severity is Severity.HANDLED
    assert set(NAMES.values()) <= set(RULES)
