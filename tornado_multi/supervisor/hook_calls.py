"""Calls of ``on_worker_exit`` and ``on_reload``, each in a process of its own. Pure; see ``decide``.

The newest zygote that has the hook forks the process; while the service stops one zygote stays for
that until the last worker has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.state import HookCall, ReloadStep, State, Zygote, ZygoteState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado_multi.process.linux import ProcessEnd

LONGEST_TEXT = 8 * 1024
"""Of one text in a report: a message has a size limit."""


def call_hook(state: State, hook: str, report: dict[str, Any], now_s: float) -> Iterator[ev.Effect]:
    """Have a hook called, if the app has it."""
    zygote = calling_zygote(state, hook)
    if zygote is None:
        return
    state.hook_count += 1
    call = HookCall(
        number=state.hook_count,
        hook=hook,
        generation=zygote.generation,
        # The process interrupts the hook by itself; this is for hooks that can't be interrupted.
        deadline_s=now_s + state.limits.hook_timeout_s + state.limits.kill_grace_s,
    )
    state.hook_calls[call.number] = call
    yield ev.CallHook(zygote.generation, call.number, hook, _shortened(report))


def calling_zygote(state: State, hook: str) -> Zygote | None:
    """Return the zygote that forks the process for a hook: the newest that is not on trial."""
    reload = state.reload
    on_trial = reload is not None and reload.step in {ReloadStep.IMPORTING, ReloadStep.CANARY}
    trial = reload.generation if reload is not None and on_trial else None
    able = [
        zygote
        for zygote in state.zygotes.values()
        if zygote.state is ZygoteState.READY
        and zygote.kill_reason is None
        and not zygote.released
        and zygote.generation != trial
        and hook in zygote.hooks
    ]
    return max(able, key=lambda zygote: zygote.generation, default=None)


def hook_ended(state: State, number: int, end: ProcessEnd) -> Iterator[ev.Effect]:
    """Take in the end of the process that called a hook."""
    call = state.hook_calls.pop(number, None)
    if call is None or call.has_failed:
        return
    if call.kill_reason is not None:
        yield _said(call.hook, f"The process of {call.hook} {call.kill_reason}.")
    elif end.exit_code != 0:
        yield _said(call.hook, f"The process of {call.hook} {end}.")


def hook_refused(state: State, number: int, reason: str) -> Iterator[ev.Effect]:
    """Take in that no process could be forked for a hook."""
    call = state.hook_calls.pop(number, None)
    if call is not None:
        yield ev.ForgetHook(number)
        yield _said(call.hook, f"{call.hook} could not be called: {reason}.")


def forget_unborn(state: State, generation: int) -> Iterator[ev.Effect]:
    """Give up the calls whose zygote ended before it announced a process."""
    for call in [item for item in state.hook_calls.values() if item.generation == generation]:
        if call.pid is None:
            yield from hook_refused(state, call.number, "its zygote ended")


def hook_deadlines_passed(state: State, now_s: float) -> Iterator[ev.Effect]:
    """Kill the processes of hooks whose time is over."""
    for call in list(state.hook_calls.values()):
        if call.deadline_s is None or call.deadline_s > now_s:
            continue
        call.deadline_s = None
        if call.pid is None:
            yield from hook_refused(state, call.number, "its zygote did not fork in time")
        else:
            call.kill_reason = (
                f"did not end within {state.limits.hook_timeout_s:g} s (hook_timeout_s) and was "
                "killed"
            )
            yield ev.KillHook(call.number)


def _said(hook: str, text: str) -> ev.Say:
    return ev.Say("error", "supervisor", text, {"hook": hook})


def _shortened(report: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value[-LONGEST_TEXT:] if isinstance(value, str) else value
        for key, value in report.items()
    }
