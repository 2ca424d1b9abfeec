"""Thousands of random histories in a small world of processes; what must hold is in the world."""

from __future__ import annotations

import pytest
from support.histories import COMMAND, INT, TERM
from support.worlds import World, is_whole

from tornado_multi.supervisor import events as ev
from tornado_multi.supervisor.state import Phase, WorkerState

HISTORIES = 1000
RELOADS = 200
BATCHES = 4
STEPS = 120
ROUNDS = 40
"""In each, one deadline of what is still broken passes."""


def until(world: World, *, healed: bool) -> None:
    """Let a calm world go on until it is whole (or else until it has ended)."""
    for _ in range(ROUNDS):
        world.settle()
        if world.state.phase is Phase.FINISHED or (healed and is_whole(world.state)):
            return
        world.pass_time()


def live_through(seed: int) -> World:
    """Live one history: a boot, trouble, then perhaps calm and health, a stop, the end."""
    world = World(seed)
    if world.calm:
        world.settle()

        assert is_whole(world.state)
        world.calm = False
    for _ in range(world.random.randint(0, STEPS)):
        world.turn()
    if world.random.random() < 0.5:
        world.calm = True
        until(world, healed=True)

        assert is_whole(world.state) or world.state.phase is Phase.FINISHED, "it does not heal"
        if world.limits.has_own_listeners and is_whole(world.state):
            leaving = set(world.state.listeners_to_close)
            assert set(world.state.places) == world.listening - leaving, "nobody takes from one"
            assert world.refusing <= leaving, "an instance that nobody can reach"

        world.calm = False
    for asked in world.random.choice([[TERM], [INT], [COMMAND], [TERM, INT], [INT, INT]]):
        world.post(asked)
        for _ in range(world.random.randint(0, 5)):
            world.turn()
    world.calm = True
    until(world, healed=False)
    return world


@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_histories_keep_the_rules(batch: int) -> None:
    """Whatever processes do: no spin, no doubled worker, no effect on what is unknown, and an end.

    Healing too: once nothing fails any more, every fork_id has a ready worker again.
    """
    for seed in range(batch, HISTORIES, BATCHES):
        world = live_through(seed)

        assert world.state.phase is Phase.FINISHED, f"seed {seed}: {world.trace[-5:]}"
        assert 1 == world.finishes, f"seed {seed}"
        assert not world.zygotes, f"seed {seed}"
        assert not world.workers, f"seed {seed}"


# --- reloads --------------------------------------------------------------------------------------


def everybody_is_served(world: World) -> None:
    """Check that each fork_id has a worker that takes requests, but for those that may be missing."""
    served = {
        worker.fork_id
        for worker in world.state.workers.values()
        if worker.state is WorkerState.READY and not worker.leaving
    }
    missing = len(set(world.state.places) - served)
    may_be_missing = world.state.limits.unavailable(world.state.desired_workers)
    assert missing <= may_be_missing, f"nobody serves; {world.trace[-3:]}"


def reload_in_calm(seed: int, *, new_code_fails: float) -> World:
    """Boot well, reload once with everything else calm, in any order of what crosses."""
    world = World(seed, calm_share=1.0, commands=False)
    world.settle()
    world.always = everybody_is_served
    world.new_code_fails = new_code_fails
    world.time_passes = False
    world.post(ev.ReloadAsked("SIGHUP"))
    quiet = 0
    for _ in range(20_000):
        if world.state.reload is None:
            return world
        before = len(world.trace)
        world.turn()
        quiet = quiet + 1 if len(world.trace) == before else 0
        if quiet > 200:  # somebody hangs
            world.pass_time()
            quiet = 0
    raise AssertionError(f"seed {seed}: the reload does not end: {world.state.reload}")


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_reload_leaves_nobody_unserved(batch: int) -> None:
    """At each moment each fork_id has a ready worker; in the end all are of the new generation."""
    for seed in range(batch, RELOADS, BATCHES):
        world = reload_in_calm(seed, new_code_fails=0.0)
        report = world.state.last_reload

        assert report is not None
        assert report.succeeded, f"seed {seed}: {report}"
        assert {2} == {worker.generation for worker in world.state.workers.values()}, f"{seed}"
        assert is_whole(world.state), f"seed {seed}"


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_reload_that_fails_leaves_nobody_unserved(batch: int) -> None:
    """Wherever the new code fails: the old generation serves on, or serves again, in every place."""
    failed = 0
    for seed in range(batch, RELOADS, BATCHES):
        world = reload_in_calm(seed, new_code_fails=0.2)
        report = world.state.last_reload
        assert report is not None
        if report.succeeded:
            continue
        failed += 1
        world.new_code_fails = 0.0
        until(world, healed=True)

        assert report.reason, f"seed {seed}"
        assert is_whole(world.state), f"seed {seed}"
        assert {1} == {worker.generation for worker in world.state.workers.values()}, f"{seed}"
    assert failed > RELOADS / BATCHES / 4, "too few of them failed to show anything"
