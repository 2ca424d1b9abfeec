"""Which directories a process is seen to log in."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tornado_multi.logs.belonging import directories_of

if TYPE_CHECKING:
    from pathlib import Path

NO_PROCESS = 2**22 + 1
"""More than the kernel gives out."""


def test_open_files_with_the_workers_number_say_where_it_logs(tmp_path: Path) -> None:
    """Others that it holds open don't, nor do workers that have gone."""
    for name in ("a/web.3.log", "b/web.3.log", "c/web.4.log", "d/web.3.txt", "e/3.log"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    files = [path.open() for path in tmp_path.rglob("*.*")]
    found = directories_of({os.getpid(): 3, NO_PROCESS: 3})
    for file in files:
        file.close()

    assert [str(tmp_path / "a"), str(tmp_path / "b")] == found
