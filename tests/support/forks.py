"""Doing something in a forked child, and learning what came of it."""

from __future__ import annotations

import json
import os
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def in_child(act: Callable[[], Any]) -> Any:
    """Fork, call *act* in the child, return what it returned (as JSON has it), and collect it.

    Only where no second thread runs, which a fork would lose.
    """
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read_fd)
            with open(write_fd, "w", encoding="utf-8") as file:
                json.dump(act(), file)
        except BaseException:  # noqa: BLE001 - the child must not run the tests on
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(write_fd)
    with open(read_fd, encoding="utf-8") as file:
        said = file.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0, "the child failed; its traceback is above"
    return json.loads(said)
