"""What is made of the stacks that a worker has written."""

from __future__ import annotations

from pathlib import Path

import tornado_multi.worker.watchdog
from tornado_multi.supervisor.children import WATCHDOG_FILE, last_stacks, main_stack

OURS = f"""\
Thread 0x00007ff9 (most recent call first):
  File "/venv/tornado_multi/process/channel.py", line 84 in receive
  File "/venv{WATCHDOG_FILE}", line 35 in _run"""
THEIRS = """\
Current thread 0x00007ffa (most recent call first):
  File "/srv/shop/shop.py", line 8 in get"""
OTHER = """\
Thread 0x00007ff8 (most recent call first):
  File "/srv/shop/poller.py", line 3 in poll"""

ASKED_FOR = """\
Stack (most recent call first):
  File "/srv/shop/shop.py", line 7 in get"""


def test_the_stack_that_was_asked_for_has_the_name_of_its_thread() -> None:
    """The signal goes to the process, so to its main thread; faulthandler does not say so."""
    assert "Main thread (most recent call first):\n  File" in main_stack(ASKED_FOR + "\n")
    assert "" == main_stack("")


def test_the_file_of_the_watchdog_is_where_it_is_looked_for() -> None:
    """The name is a text here, because the supervisor does not import the worker's modules."""
    assert str(Path(tornado_multi.worker.watchdog.__file__)).endswith(WATCHDOG_FILE)


def test_last_words_begin_with_the_error() -> None:
    """What an earlier report had asked for is not part of them."""
    head, tail = "Fatal Python error: Aborted", "Extension modules: x (total: 1)"
    written = f"{head}\n\n{OURS}\n\n{OTHER}\n\n{THEIRS}\n\n{tail}"

    assert f"{head}\n\n{THEIRS}\n\n{OTHER}\n\n{tail}" == last_stacks(f"{ASKED_FOR}\n{written}\n")
    assert None is last_stacks(f"{ASKED_FOR}\n")
    assert None is last_stacks("")


def test_last_words_without_an_earlier_report_have_their_stacks() -> None:
    """The error stands first in the file then; its stacks come after it, the current thread first."""
    written = f"Fatal Python error: Aborted\n\n{OURS}\n\n{OTHER}\n\n{THEIRS}\n"

    assert f"Fatal Python error: Aborted\n\n{THEIRS}\n\n{OTHER}" == last_stacks(written)


def test_last_words_that_were_cut_short_are_completed() -> None:
    """A thread that runs on can make the writer crash before it has come to the current one."""
    written = (
        f"Fatal Python error: Aborted\n\n{OTHER}\n\nFatal Python error: Segmentation fault\n\n"
    )

    said = last_stacks(f"{ASKED_FOR}\n{written}")

    assert said is not None
    assert said.startswith("Fatal Python error: Aborted\n\nFatal Python error: Segmentation fault")
    assert OTHER in said
    assert said.endswith(
        "When it was last asked:\nMain thread (most recent call first):\n"
        '  File "/srv/shop/shop.py", line 7 in get'
    )
    assert OTHER in (last_stacks(written) or "")
