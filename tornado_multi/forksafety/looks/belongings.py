"""What a process has beside descriptors: children, directories, random numbers, memory.

Runs in: zygote; ``check``.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import random
import signal
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

from tornado_multi.forksafety import descriptors as fds
from tornado_multi.forksafety.heap import class_of

if TYPE_CHECKING:
    from tornado_multi.forksafety.ledger import Ledger, Objects


ROTATING = (logging.handlers.BaseRotatingHandler,)


def look_at_log_files(ledger: Ledger, _objects: Objects) -> None:
    """Say which log files would be rotated, emptied or shared."""
    for reference in list(logging._handlerList):  # type: ignore[attr-defined]  # noqa: SLF001
        handler = reference()
        with ledger.in_spite_of(class_of(handler)):
            if isinstance(handler, logging.FileHandler):
                _say_log_file(ledger, handler)


def _say_log_file(ledger: Ledger, handler: logging.FileHandler) -> None:
    path = os.path.abspath(handler.baseFilename)
    site = ledger.recorder.site_of(handler) or ledger.recorder.paths.get(path)
    stream: Any = getattr(handler, "stream", None)
    fd = None
    with contextlib.suppress(AttributeError, OSError, ValueError):  # no file, or none yet
        fd = stream.fileno()
    if fd is not None:
        ledger.claim({fd})
    name = type(handler).__name__
    if isinstance(handler, ROTATING):
        ledger.add("rotating-log", f"{name} {path}", site)
    elif fd is not None:
        ledger.add("log-file", f"log file {path}", site)
    elif stream is None and handler.mode.startswith("w"):  # each process will open it
        ledger.add("truncated-log", f"log file {path}, which each process empties", site)


def look_at_processes(ledger: Ledger, objects: Objects) -> None:
    """Say which children run."""
    popen = {getattr(item, "pid", None): item for item in objects.get("process", [])}
    for pid in fds.children():
        known = popen.get(pid)
        if known is not None and known.returncode is not None:
            continue
        what = f"child process {pid} ({fds.command_of(pid)})"
        ledger.add("child-process", what, ledger.recorder.pids.get(pid))


def look_at_finalizers(ledger: Ledger, _objects: Objects) -> None:
    """Say which temporary directories would be deleted by whoever ends first."""
    registry = weakref.finalize._registry  # type: ignore[attr-defined]  # noqa: SLF001
    for info in list(registry.values()):
        name = getattr(info.func, "__qualname__", "")
        path = info.args[0] if info.args and isinstance(info.args[0], str) else None
        if name == "TemporaryDirectory._cleanup" and path is not None:
            site = ledger.recorder.paths.get(os.path.abspath(path))
            ledger.add("temporary-directory", f"temporary directory {path}", site)


def look_at_random(ledger: Ledger, objects: Objects) -> None:
    """Say which generators would give all workers the same numbers; unseeded ones get new seeds."""
    names = getattr(sys.modules.get("tempfile"), "_name_sequence", None)
    standard = [random._inst, getattr(names, "_rng", None)]  # noqa: SLF001
    for generator in objects.get("random", []):
        if any(generator is one for one in standard) or isinstance(generator, random.SystemRandom):
            continue
        site = ledger.recorder.site_of(generator)
        if site is None:
            continue  # of the standard library, or older than the app
        if ledger.recorder.is_seeded(generator):
            ledger.add("seeded-random", "random.Random with a seed", site)
        elif site.allowed is None:
            ledger.add("random", "random.Random", site)
            ledger.heritage.randoms.append(generator)
    for name in ("numpy.random", "numpy.legacy"):
        ledger.heritage.randoms += objects.get(name, [])
        for generator in objects.get(name, []):
            what = f"{type(generator).__name__} of numpy"
            ledger.add("random", what, ledger.recorder.site_of(generator), library="numpy")


def look_at_wakeup(ledger: Ledger, _objects: Objects) -> None:
    """Say whether signals wake somebody through a descriptor."""
    if threading.current_thread() is not threading.main_thread():
        return
    fd = signal.set_wakeup_fd(-1)
    if fd != -1:
        signal.set_wakeup_fd(fd, warn_on_full_buffer=False)
        ledger.add("wakeup-fd", f"signal wakeup descriptor {fd}", ledger.recorder.wakeup)


def look_at_maps(ledger: Ledger, _objects: Objects) -> None:
    """Say which memory is shared and can be written."""
    for length, path in fds.shared_maps():
        if "memfd:tornado_multi" in path:
            continue
        plain = path.removesuffix(" (deleted)")
        if any(plain == f"{known}-shm" for known in ledger.recorder.sqlite_paths):
            continue
        page = 4096
        site = next(
            (s for size, s in ledger.recorder.maps.items() if -(-size // page) * page == length),
            None,
        )
        ledger.add("shared-map", f"shared memory {path or 'without a name'}", site)
