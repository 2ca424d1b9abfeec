"""The startup block: what the supervisor says before and when its workers are ready. Pure."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

from tornado_multi.forksafety.findings import summary
from tornado_multi.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tornado_multi.supervisor.state import State
    from tornado_multi.supervisor.status import Address, Identity

MOST_INSTANCES = 3
"""So many addresses of instances are told one by one."""
Block = tuple[list[str], dict[str, Any]]
"""Lines for people, and the same facts for machines."""


def starting(identity: Identity, loop: str) -> Block:
    """Return what is said first."""
    python = platform.python_version()
    line = f"tornado_multi {VERSION}   supervisor {identity.pid}   Python {python}   {loop}"
    return [line], {"version": VERSION, "pid": identity.pid, "python": python, "loop": loop}


def ready(
    identity: Identity, state: State, addresses: Sequence[Address], fork_safety: str
) -> Block:
    """Return what is said when every fork_id has been ready once.

    Args: fork_safety: the setting.
    """
    zygote = max(state.zygotes.values(), key=lambda item: item.generation, default=None)
    import_s = zygote.import_s if zygote else None
    since = [item.ready_s for item in state.workers.values() if item.ready_s is not None]
    begun = [item.started_s for item in state.workers.values()]
    fork_ms = (max(since) - min(begun)) * 1000 if since else 0.0
    imported = f"   imported in {import_s:.2f} s" if import_s is not None else ""
    safety = state.fork_safety()
    found = None if safety is None else summary(safety["errors"], safety["warnings"])
    if fork_safety == "off":
        found = "off"
    if found is not None:
        imported += f"{',' if imported else '  '} fork safety: {found}"
    lines = [f"  app        {identity.app}{imported}"]
    for index, text in enumerate(_listed(addresses)):
        lines.append(f"  {'listening' if index == 0 else '':<9}  {text}")
    lines += [
        f"  workers    {len(since)} ready in {fork_ms:.0f} ms",
        (
            f"  control    tornado-multi status | reload | stop{identity.control_options}"
            f"      (socket {identity.control_path})"
        ),
    ]
    return lines, {
        "app": identity.app,
        "import_s": import_s,
        "fork_safety": found,
        "listeners": [address.text for address in addresses],
        "workers": len(since),
        "workers_ready_s": fork_ms / 1000,
        "control": identity.control_path,
    }


def _listed(addresses: Sequence[Address]) -> list[str]:
    """Return the addresses, a line each; of many instances the first and the last."""
    texts = [address.text for address in addresses]
    if len(texts) <= MOST_INSTANCES or addresses[0].fork_id is None:
        return texts
    return [f"{texts[0]} to {texts[-1]}, one for each of {len(texts)} instances"]
