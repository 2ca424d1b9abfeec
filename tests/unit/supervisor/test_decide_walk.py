"""Every event in every state: messages, deaths and commands may cross in any order."""

from __future__ import annotations

import json
import random

import pytest
from support.histories import (
    BOOT_FAILED,
    COMMAND,
    CRASHED,
    INT,
    KILLED,
    LEFT,
    LIMITS,
    TERM,
    Moment,
    Replay,
    importing,
    loaded,
    replay,
    serving,
    started_worker,
)
from support.worlds import audit

from tornado_multi.process import messages as msg
from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.decide import next_deadline_s
from tornado_multi.supervisor.state import Phase, ReloadStep, from_plain, to_plain

NOW_S = 1000.0
"""Later than every history here, so that every deadline in it has passed."""
PAIRS = 60

FORKED: list[Moment] = [*loaded(), (0.0, ev.WorkerForked(0, 200))]
SERVED = serving()
REPLACING: list[Moment] = [*SERVED, (1.0, ev.WorkerEnded(0, KILLED, 0))]
NEXT_ZYGOTE: list[Moment] = [*SERVED, (1.0, ev.ZygoteEnded(1, KILLED))]
SCALE_DOWN: Moment = (2.0, ev.ScaleAsked(1))
# With two places: the canary takes row 1 and is fork_id 0, then row 3 is forked for fork_id 1.
RELOADING: list[Moment] = [
    *SERVED,
    (0.0, ev.ScaleAsked(2)),
    *started_worker(1, at_s=0.0),
    (1.0, ev.WorkerDraining(1)),
    *started_worker(2, at_s=1.0),
    (1.0, ev.WorkerEnded(1, LEFT, 0)),
    (1.0, ev.ReloadAsked("SIGHUP")),
]
IMPORTING: list[Moment] = [
    *RELOADING,
    (1.0, ev.SettingsRead(LIMITS, None)),
    (1.0, ev.ZygoteSpawned(2, 102)),
]
CANARY: list[Moment] = [*IMPORTING, (2.0, ev.ZygoteLoaded(2, 0.1))]
ROLLING: list[Moment] = [*CANARY, *started_worker(1, at_s=2.0)]
DRAINING: list[Moment] = [*ROLLING, *started_worker(3, at_s=2.0)]

HOOK_ASKED: list[Moment] = [
    *importing(),
    (0.0, ev.ZygoteLoaded(1, 0.25, ("on_worker_exit", "on_reload"))),
    *started_worker(0, at_s=0.0),
    (1.0, ev.WorkerEnded(0, KILLED, 0)),
]
STATES: dict[str, list[Moment]] = {
    # What the service as a whole does, and what its zygote does.
    "not begun": [],
    "zygote asked for": [(0.0, ev.Started())],
    "zygote imports": [(0.0, ev.Started()), (0.0, ev.ZygoteSpawned(1, 101))],
    "zygote failed": [
        (0.0, ev.Started()),
        (0.0, ev.ZygoteLoadFailed(1, "no", "", usage=False)),
    ],
    "zygote hangs in its import": [(0.0, ev.Started()), (60.1, ev.DeadlinePassed())],
    "zygote hangs in a fork": [*loaded(), (0.0, ev.ForkSent(0)), (60.1, ev.DeadlinePassed())],
    "next zygote imports": NEXT_ZYGOTE,
    "next zygote failed": [
        *NEXT_ZYGOTE,
        (2.0, ev.ZygoteLoadFailed(2, "no", "", usage=False)),
    ],
    "next zygote pauses": [*NEXT_ZYGOTE, (2.0, ev.ZygoteEnded(2, CRASHED))],
    "next zygote ready": [*NEXT_ZYGOTE, (2.0, ev.ZygoteLoaded(2, 0.1))],
    # What a worker does while the service boots.
    "boot: forking": loaded(),
    "boot: starting": FORKED,
    "boot: failed": [*FORKED, (1.0, ev.WorkerBootFailed(0, "no", ""))],
    "boot: killed": [*FORKED, (60.1, ev.DeadlinePassed())],
    # ... while it serves ...
    "ready": SERVED,
    "draining": [*SERVED, (1.0, ev.WorkerDraining(0))],
    "drain overdue": [*SERVED, (1.0, ev.WorkerDraining(0)), (40.0, ev.DeadlinePassed())],
    "forking": REPLACING,
    "starting": [*REPLACING, (1.0, ev.WorkerForked(0, 300))],
    "failed": [*REPLACING, (1.0, ev.WorkerBootFailed(0, "no", ""))],
    "killed": [*REPLACING, (1.0, ev.WorkerForked(0, 300)), (61.1, ev.DeadlinePassed())],
    "backoff": [*SERVED, (1.0, ev.WorkerEnded(0, CRASHED, 0))],
    "backoff over": [
        *SERVED,
        (1.0, ev.WorkerEnded(0, CRASHED, 0)),
        (1.0, ev.ZygoteEnded(1, KILLED)),
        (2.1, ev.DeadlinePassed()),
    ],
    # ... while it is told to be otherwise ...
    "restart asked": [*SERVED, (1.0, ev.RestartAsked(0))],
    "restart fails": [
        *SERVED,
        (1.0, ev.RestartAsked(0)),
        (1.0, ev.WorkerForked(1, 201)),
        (1.0, ev.WorkerEnded(1, BOOT_FAILED, 0)),
    ],
    "scaled up": [*SERVED, (1.0, ev.ScaleAsked(2))],
    "scaled down": [*SERVED, (1.0, ev.ScaleAsked(2)), *started_worker(1, at_s=1.0), SCALE_DOWN],
    # ... while it reloads: by row 1 and generation 2 ...
    "reload: reading": RELOADING,
    "reload: reading, zygote lost": [*RELOADING, (1.0, ev.ZygoteEnded(1, KILLED))],
    "reload: importing": IMPORTING,
    "reload: importing, zygote lost": [*IMPORTING, (1.0, ev.ZygoteEnded(1, CRASHED))],
    "reload: import failed": [
        *IMPORTING,
        (1.0, ev.ZygoteLoadFailed(2, "no", "", usage=False)),
    ],
    "reload: canary": CANARY,
    "reload: canary, queued": [*CANARY, (2.0, ev.ReloadAsked("SIGHUP"))],
    "reload: canary starting": [*CANARY, (2.0, ev.WorkerForked(1, 201))],
    "reload: canary failed": [*CANARY, (2.0, ev.WorkerBootFailed(1, "no", ""))],
    "reload: rolling": ROLLING,
    "reload: rolling, zygote lost": [*ROLLING, (2.0, ev.ZygoteEnded(2, KILLED))],
    "reload: rolling back": [*ROLLING, (2.0, ev.ForkRefused(2, "no"))],
    "reload: draining": DRAINING,
    "reload: draining, queued": [*DRAINING, (3.0, ev.ReloadAsked("SIGHUP"))],
    "reload: done": [
        *DRAINING,
        (3.0, ev.WorkerEnded(0, LEFT, 0)),
        (3.0, ev.WorkerEnded(2, LEFT, 0)),
        (3.0, ev.ZygoteEnded(1, LEFT)),
    ],
    # ... while a hook is called in a process of its own ...
    "hook: asked for": HOOK_ASKED,
    "hook: called": [*HOOK_ASKED, (1.0, ev.HookForked(1, 902))],
    "hook: overdue": [*HOOK_ASKED, (1.0, ev.HookForked(1, 902)), (20.0, ev.DeadlinePassed())],
    "hook: stop": [*HOOK_ASKED, (1.0, ev.HookForked(1, 902)), (1.0, TERM)],
    # ... and while it stops.
    "stop: reloading": [*CANARY, (2.0, TERM)],
    "stop: rolling": [*ROLLING, (2.0, TERM)],
    "stop: importing": [(0.0, ev.Started()), (1.0, TERM)],
    "stop: forking": [*loaded(), (1.0, TERM)],
    "stop: starting": [*FORKED, (1.0, TERM)],
    "stop: ready": [*SERVED, (1.0, TERM)],
    "stop: draining": [*SERVED, (1.0, TERM), (1.1, ev.WorkerDraining(0))],
    "stop: hurried": [*SERVED, (1.0, INT)],
    "stop: killed": [*SERVED, (1.0, INT), (1.1, INT)],
    "stop: overdue": [*SERVED, (1.0, TERM), (40.0, ev.DeadlinePassed())],
    "stop: worker gone": [*SERVED, (1.0, TERM), (1.1, ev.WorkerEnded(0, LEFT, 0))],
    "finished": [
        *SERVED,
        (1.0, TERM),
        (1.1, ev.WorkerEnded(0, LEFT, 0)),
        (1.2, ev.ZygoteEnded(1, LEFT)),
    ],
}


def events_about(row: int, generation: int) -> list[ev.Event]:
    """Every kind of event, about one worker and one zygote."""
    return [
        ev.ZygoteSpawned(generation, 900),
        ev.ZygoteRefused(generation, "no"),
        ev.ZygoteLoaded(generation, 0.1),
        ev.ZygoteAudited(generation, audit()),
        ev.ZygoteLoaded(generation, 0.1, ("on_worker_exit", "on_reload"), 3),
        ev.ZygoteLoadFailed(generation, "no", "", usage=False),
        ev.ZygoteLoadFailed(generation, "no", "", usage=True),
        ev.ZygoteEnded(generation, LEFT),
        ev.ZygoteEnded(generation, KILLED),
        ev.ZygoteEnded(generation, CRASHED),
        ev.WorkerForked(row, 901),
        ev.ForkRefused(row, "no"),
        ev.WorkerReady(row),
        ev.Looked((ev.Sample(row, 0.1, is_stopped=False, route=None),)),
        ev.Looked((ev.Sample(row, 2.0, is_stopped=False, route="GET shop.Slow"),)),
        ev.Looked((ev.Sample(row, 2.0, is_stopped=True, route=None),)),
        ev.Looked((ev.Sample(row, 40.0, is_stopped=False, route=None),)),
        ev.WorkerWorn(row, "it has answered 5 requests"),
        ev.WorkerBootFailed(row, "no", ""),
        ev.WorkerDraining(row),
        ev.WorkerEnding(row),
        ev.WorkerEnding(row, "sys.exit(3)", "Traceback"),
        ev.ForkSent(row),
        ev.WorkerDrained(row, msg.Drained(0.1, 0, 0, 0, 0, 0)),
        ev.WorkerEnded(row, LEFT, 1),
        ev.WorkerEnded(row, KILLED, 1),
        ev.WorkerEnded(row, CRASHED, 1),
    ]


GENERAL: list[ev.Event] = [
    ev.Started(),
    ev.DeadlinePassed(),
    ev.Suspended(5.0),
    TERM,
    INT,
    COMMAND,
    ev.ReloadAsked("SIGHUP"),
    ev.SettingsRead(LIMITS, None),
    ev.SettingsRead(LIMITS, 3, ("a note",)),
    ev.SettingsRefused("broken"),
    ev.ScaleAsked(1),
    ev.ScaleAsked(3),
    ev.RestartAsked(0),
    ev.RestartAsked(9),
    ev.ReopenAsked(),
    ev.HookForked(1, 902),
    ev.HookRefused(1, "no"),
    ev.HookFailed("zygote", 2, "on_starting", "no"),
    ev.HookFailed("supervisor", None, "on_reload", "no", "Traceback", 1),
    ev.HookEnded(1, LEFT),
    ev.HookEnded(1, CRASHED),
]
ALL = [*events_about(0, 1), *events_about(1, 2), *events_about(3, 3), *GENERAL]


def in_state(name: str) -> Replay:
    return replay(STATES[name])


def test_the_walk_knows_every_event() -> None:
    """An event that is added to the supervisor must be added to the walk."""
    walked = {type(event) for event in [*events_about(0, 1), *GENERAL]}

    assert set(ev.Event.__args__) == walked


def test_the_walk_visits_every_step_of_a_reload() -> None:
    """A step that is added to the reload must be added to the walk."""
    reloads = [in_state(name).state.reload for name in STATES]

    assert set(ReloadStep) == {reload.step for reload in reloads if reload is not None}


def test_the_walk_visits_every_phase() -> None:
    """A phase that is added to the supervisor must be added to the walk."""
    assert set(Phase) == {in_state(name).state.phase for name in STATES}


@pytest.mark.parametrize("name", STATES)
def test_every_event_is_taken_in_every_state(name: str) -> None:
    """No event raises in any state, and none leaves a deadline in the past that nothing clears."""
    for first in ALL:
        seen = in_state(name).then((NOW_S, first), (NOW_S, ev.DeadlinePassed()))
        deadline_s = next_deadline_s(seen.state)

        assert deadline_s is None or deadline_s > NOW_S, first


@pytest.mark.parametrize("name", STATES)
def test_every_state_survives_json(name: str) -> None:
    """A successor process can be given it: it is the same, and decides the same."""
    state = in_state(name).state
    text = json.dumps(to_plain(state))

    assert state == from_plain(json.loads(text))

    for event in random.Random(name).sample(ALL, 8):
        expected = in_state(name).then((NOW_S, event)).effects

        assert expected == Replay(from_plain(json.loads(text))).then((NOW_S, event)).effects, event


@pytest.mark.parametrize("name", STATES)
def test_two_events_in_a_row_are_taken_in_every_state(name: str) -> None:
    """Neither do two events in any order; a seeded choice of all pairs."""
    rng = random.Random(name)
    for _ in range(PAIRS):
        first, second = rng.choice(ALL), rng.choice(ALL)
        seen = in_state(name).then((NOW_S, first), (NOW_S, second), (NOW_S, ev.DeadlinePassed()))
        deadline_s = next_deadline_s(seen.state)

        assert deadline_s is None or deadline_s > NOW_S, (first, second)


@pytest.mark.parametrize("name", [name for name in STATES if name != "not begun"])
def test_events_about_processes_that_are_gone_are_ignored(name: str) -> None:
    """A message or a death that names no known process changes nothing and does nothing."""
    for event in events_about(99, 99):
        seen = in_state(name).then((60.0, ev.DeadlinePassed()))
        before = to_plain(seen.state)
        seen.then((60.0, event))

        assert [] == seen.effects, event
        assert before == to_plain(seen.state), event


def test_after_the_finish_nothing_happens() -> None:
    """FINISHED is the end: whatever comes late, nothing is done and Finish is not repeated."""
    for event in ALL:
        seen = in_state("finished").then((NOW_S, event))

        assert [] == seen.effects, event
        assert seen.state.phase is Phase.FINISHED
