"""The startup block."""

from __future__ import annotations

import pytest
from support.histories import replay, serving
from support.worlds import audit

from tornado_multi.supervisor.announcing import ready
from tornado_multi.supervisor.status import Identity

IDENTITY = Identity(
    pid=1,
    name="shop",
    version="0.1.0",
    app="shop:make_app",
    control_path="/run/shop.sock",
    control_options="",
    addresses=(),
    backlog=1,
    started_s=0.0,
)


@pytest.mark.parametrize(
    ("mode", "has_audit", "said"),
    [("warn", True, "1 error"), ("off", False, "off"), ("warn", False, None)],
)
def test_fork_safety_is_said(mode: str, *, has_audit: bool, said: str | None) -> None:
    """What was found, or that nothing was looked for; nothing, if no audit has come."""
    state = replay(serving()).state
    if has_audit:
        state.audits[1] = audit()
    lines, facts = ready(IDENTITY, state, [], mode)

    assert said == facts["fork_safety"]
    assert (said is not None) == lines[0].endswith(f", fork safety: {said}")
