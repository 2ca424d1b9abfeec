"""What the news of a zygote means. Pure; see ``decide``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tornado_multi.forksafety.findings import one_line, summary
from tornado_multi.process.exit_codes import ExitCode
from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.hook_calls import forget_unborn
from tornado_multi.supervisor.pauses import HEALTHY_AFTER_S, OUTSIDE_KILLS, backoff_s
from tornado_multi.supervisor.reloading import ON_TRIAL, concerns, fail_reload, imported
from tornado_multi.supervisor.state import Failure, Phase, State, Zygote, ZygoteState
from tornado_multi.supervisor.stopping import fail
from tornado_multi.supervisor.wording import zygote_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado_multi.process.linux import ProcessEnd


KEPT_AUDITS = 4
"""More than there are generations with workers, most of the time."""


def zygote_refused(state: State, generation: int, reason: str, now_s: float) -> Iterator[ev.Effect]:
    """Take in that the system refused to start a zygote."""
    if state.zygotes.pop(generation, None) is None or state.phase is Phase.STOPPING:
        return
    text = f"The system refused to start the zygote: {reason}."
    if concerns(state, generation):
        yield from fail_reload(state, Failure(text, ""), now_s)
        return
    yield from _no_zygote(state, text, now_s, code=ExitCode.REFUSED_BY_SYSTEM)


def zygote_loaded(state: State, event: ev.ZygoteLoaded, now_s: float) -> Iterator[ev.Effect]:
    """Take in that a zygote has imported the app."""
    zygote = state.zygotes.get(event.generation)
    if zygote is None or zygote.state is not ZygoteState.IMPORTING:
        return
    if zygote.kill_reason is not None or zygote.failure is not None:
        return
    zygote.state = ZygoteState.READY
    zygote.deadline_s = None
    zygote.ready_s = now_s
    zygote.import_s = event.import_s
    zygote.hooks = list(event.hooks)
    state.zygote_problem = None
    imported(state, zygote, event.workers)
    if state.phase is Phase.SERVING:
        yield ev.Say("info", zygote_name(zygote), f"Imported the app in {event.import_s:.2f} s.")


def zygote_audited(state: State, event: ev.ZygoteAudited) -> Iterator[ev.Effect]:
    """Take in what a zygote's workers will inherit; say what was not said of the code before."""
    zygote = state.zygotes.get(event.generation)
    if zygote is None:
        return
    audit = event.audit
    said = {_essence(item) for old in state.audits.values() for item in old["findings"]}
    for finding in audit["findings"]:
        if finding["word"] != "info" and _essence(finding) not in said:
            extra = {"fork_safety": finding}
            text = one_line(finding, audit["directory"])
            yield ev.Say(finding["word"], zygote_name(zygote), text, extra)
    if audit["omitted"]:
        text = f"Fork safety: {audit['omitted']} more; tornado-multi check lists all."
        yield ev.Say("warning", zygote_name(zygote), text)
    state.audits[event.generation] = audit
    for generation in sorted(state.audits)[:-KEPT_AUDITS]:
        del state.audits[generation]
    reload = state.reload
    if reload is not None and reload.generation == event.generation:
        reload.fork_safety = summary(audit["errors"], audit["warnings"])


def _essence(finding: dict[str, Any]) -> tuple[Any, ...]:
    """Return what a finding has in common with the same one of another generation.

    The line, if it is known: the words have numbers of ports and processes in them.
    """
    what = finding["what"] if finding["file"] is None else None
    return finding["kind"], finding["file"], finding["line"], what


def zygote_load_failed(
    state: State, event: ev.ZygoteLoadFailed, now_s: float
) -> Iterator[ev.Effect]:
    """Take in that a zygote could not import the app; it ends by itself."""
    zygote = state.zygotes.get(event.generation)
    if zygote is None:
        return
    zygote.failure = event.reason
    # It ends by itself now; one that doesn't is killed.
    zygote.deadline_s = now_s + state.limits.kill_grace_s
    code = ExitCode.USAGE if event.usage else ExitCode.BOOT_FAILED
    if state.phase is Phase.BOOTING:
        yield from fail(state, Failure(event.reason, event.detail), code, now_s)
    elif concerns(state, event.generation):
        yield from fail_reload(state, Failure(event.reason, event.detail), now_s)


def zygote_ended(state: State, event: ev.ZygoteEnded, now_s: float) -> Iterator[ev.Effect]:
    """Take in the end of a zygote."""
    generation, end = event.generation, event.end
    zygote = state.zygotes.pop(generation, None)
    if zygote is None:
        return
    for worker in [item for item in state.workers.values() if item.generation == generation]:
        if worker.pid is None:  # never announced: whatever was forked sees its channel close
            del state.workers[worker.row]
            yield ev.ForgetWorker(worker.row)
    yield from forget_unborn(state, generation)
    if state.phase is Phase.STOPPING or zygote.released:
        return
    if not state.generation_is_wanted(generation):
        return  # of a failed reload, or replaced by one
    if concerns(state, generation) and (state.reload is None or state.reload.step in ON_TRIAL):
        reason = _why_no_zygote(state, zygote, end)
        yield from fail_reload(state, Failure(reason, event.output.rstrip()), now_s)
        return
    if zygote.ready_s is not None:
        healthy = now_s - zygote.ready_s >= HEALTHY_AFTER_S
        if zygote.kill_reason is None and (healthy or end.signal_number in OUTSIDE_KILLS):
            state.zygote_failures = 0
            state.zygote_problem = f"the zygote {end}"
            text = f"The zygote {end}; the workers serve on and another zygote is started."
            yield ev.Say("warning", zygote_name(zygote), text, {"end": str(end)})
            return
    reason = _why_no_zygote(state, zygote, end)
    if concerns(state, generation):
        yield from fail_reload(state, Failure(reason, ""), now_s)
        return
    yield from _no_zygote(state, reason, now_s, code=ExitCode.BOOT_FAILED)


def _why_no_zygote(state: State, zygote: Zygote, end: ProcessEnd) -> str:
    if zygote.ready_s is not None:
        return f"The zygote {zygote.kill_reason or end}."
    if zygote.failure is not None:
        return zygote.failure
    if zygote.kill_reason is not None:
        what = (
            "The script's way to fork_processes" if state.limits.is_script else "Importing the app"
        )
        return f"{what} {zygote.kill_reason}."
    if state.limits.is_script:
        return f"The script {end} before it called fork_processes."
    return f"The zygote {end} while it imported the app."


def _no_zygote(state: State, reason: str, now_s: float, *, code: ExitCode) -> Iterator[ev.Effect]:
    if state.phase is Phase.BOOTING:
        yield from fail(state, Failure(reason, ""), code, now_s)
        return
    state.zygote_failures += 1
    state.zygote_problem = reason
    pause_s = backoff_s(state.zygote_failures)
    state.zygote_retry_at_s = now_s + pause_s
    yield ev.Say(
        "error",
        "supervisor",
        f"{reason.rstrip('.')}. The workers serve on; another try in {pause_s:g} s.",
        {"retry_in_s": pause_s},
    )
