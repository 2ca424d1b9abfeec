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
LEAST_CHANCE = 2**64
"""Of 128 bits of chance, less than this is met once in 2**64 times."""
SEED_IS_LOST = (
    "All workers would draw the same numbers; it gets a new seed in each, and the one that it was "
    "given counts no more."
)
SEED_MEND = "nothing, or seed it in each worker, in after_fork."


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
            ledger.said_by[id(generator)] = len(ledger.findings) - 1
    for name in ("numpy.random", "numpy.legacy"):
        for generator in objects.get(name, []):
            _say_numpy(ledger, generator)


def _say_numpy(ledger: Ledger, generator: Any) -> None:
    """Generators of numpy get new seeds in workers even if they were given one; that is told."""
    words = {}
    what = f"{type(generator).__name__} of numpy"
    if generator is getattr(sys.modules.get("numpy.random.mtrand"), "_rand", None):
        what = "numpy.random, the generator that all modules share"
    if _has_own_seed(generator):
        what += ", with a seed"
        words = {"harm": SEED_IS_LOST, "mend": SEED_MEND}
    ledger.add("random", what, ledger.recorder.site_of(generator), library="numpy", **words)
    ledger.heritage.randoms.append(generator)  # the audit takes out what is allowed
    ledger.said_by[id(generator)] = len(ledger.findings) - 1


def _has_own_seed(generator: Any) -> bool:
    """Tell whether numpy was told what to begin with; it begins with 128 bits of chance by itself.

    One that was given so many bits as a seed is not told from it.
    """
    bits = getattr(generator, "bit_generator", None) or getattr(generator, "_bit_generator", None)
    sequence = getattr(bits, "seed_seq", None) or getattr(bits, "_seed_seq", None)
    entropy = getattr(sequence, "entropy", None)  # None: the old way of seeding
    return not isinstance(entropy, int) or entropy < LEAST_CHANCE


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
