"""The systems that are compared, as data: their command lines, their workers, what they lack.

No I/O: versions are read, and processes are started, elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.reliability.scenarios import Need
from tornado_multi.settings.model import option_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GRACE_S = 20
"""Seconds that requests in progress are allowed at a stop or a reload, of every system."""


@dataclass(frozen=True)
class Wish:
    """What a scenario wants of a system."""

    port: int
    directory: str
    workers: int = 2
    worker_timeout_s: int | None = None
    max_requests: int | None = None
    is_plain: bool = False
    """No option but address and number of workers."""


@dataclass(frozen=True)
class System:
    """One column of the table."""

    name: str
    packages: tuple[str, ...]
    """Whose versions stand in the table; the first one is the system's."""
    is_peer: bool
    """It is installed in the environment of the peers, not in ours."""
    arguments: Callable[[Wish], list[str]]
    """Of the interpreter, in the directory of the apps."""
    worker_sign: str
    """What the command line or title of a worker has and that of other children lacks."""
    lacks: Mapping[Need, str] = field(default_factory=dict)
    """Why a scenario with this need does not apply."""
    min_workers: int = 1

    def why_not(self, needs: frozenset[Need]) -> str | None:
        """Return why a scenario with these needs does not apply, or None."""
        return next((self.lacks[need] for need in sorted(needs) if need in self.lacks), None)


def _ours(wish: Wish) -> list[str]:
    arguments = ["-m", "tornado_multi", "serve", "shop:make_app"]
    arguments += ["--bind", f"127.0.0.1:{wish.port}", "--workers", str(wish.workers)]
    # Where the control socket lies is no choice of behaviour.
    arguments += ["--control", f"{wish.directory}/control.sock"]
    if not wish.is_plain:
        arguments += ["--drain-timeout-s", str(GRACE_S)]
    if wish.worker_timeout_s is not None and "hang_timeout_s" in option_keys():
        arguments += ["--hang-timeout-s", str(wish.worker_timeout_s)]
    if wish.max_requests is not None:
        arguments += ["--max-requests", str(wish.max_requests)]
        if "max_requests_jitter" in option_keys():
            arguments += ["--max-requests-jitter", "0"]
    return arguments


def _gunicorn(wish: Wish) -> list[str]:
    arguments = ["-m", "gunicorn", "-k", "tornado", "gunicorn_shop:app"]
    arguments += ["-b", f"127.0.0.1:{wish.port}", "-w", str(wish.workers)]
    arguments += ["--control-socket", f"{wish.directory}/control.sock"]
    if not wish.is_plain:
        arguments += ["--graceful-timeout", str(GRACE_S)]
    if wish.worker_timeout_s is not None:
        arguments += ["--timeout", str(wish.worker_timeout_s)]
    if wish.max_requests is not None:
        arguments += ["--max-requests", str(wish.max_requests)]
    return arguments


def _forked(wish: Wish) -> list[str]:
    return ["forked_shop.py", str(wish.port), str(wish.workers)]


def _uvicorn(wish: Wish) -> list[str]:
    arguments = ["-m", "uvicorn", "asgi_shop:app", "--no-access-log"]
    arguments += ["--host", "127.0.0.1", "--port", str(wish.port), "--workers", str(wish.workers)]
    if not wish.is_plain:
        arguments += ["--timeout-graceful-shutdown", str(GRACE_S)]
    if wish.worker_timeout_s is not None:
        arguments += ["--timeout-worker-healthcheck", str(wish.worker_timeout_s)]
    if wish.max_requests is not None:
        arguments += ["--limit-max-requests", str(wish.max_requests)]
    return arguments


def _granian(wish: Wish) -> list[str]:
    arguments = ["-m", "granian", "--interface", "asgi", "asgi_shop:app"]
    arguments += ["--host", "127.0.0.1", "--port", str(wish.port), "--workers", str(wish.workers)]
    if not wish.is_plain:
        arguments += ["--workers-kill-timeout", str(GRACE_S), "--respawn-failed-workers"]
    return arguments


def _not_yet() -> dict[Need, str]:
    wanted = {Need.MAX_REQUESTS: "max_requests", Need.HANG_TIMEOUT: "hang_timeout_s"}
    return {need: "not yet" for need, key in wanted.items() if key not in option_keys()}


OURS = "tornado_multi"
SYSTEMS = (
    System(OURS, ("tornado-multi", "tornado"), False, _ours, "tornado_multi: worker", _not_yet()),
    System("gunicorn", ("gunicorn", "tornado"), True, _gunicorn, "gunicorn"),
    System(
        "fork_processes",
        ("tornado",),
        False,
        _forked,
        "forked_shop.py",
        {Need.RELOAD: "no reload", Need.MAX_REQUESTS: "no such option"},
    ),
    # With one worker, uvicorn starts no supervisor.
    System("uvicorn", ("uvicorn",), True, _uvicorn, "spawn_main", min_workers=2),
    System(
        "granian", ("granian",), True, _granian, "granian", {Need.MAX_REQUESTS: "no such option"}
    ),
)
