"""Hooks: found by name or by setting, called with a time limit, never trusted."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
import types
from typing import TYPE_CHECKING, Any

import pytest

from tornado_multi.hooks import NAMES, Hooks, find_hooks
from tornado_multi.loading import LoadError
from tornado_multi.settings.model import HookSettings, options_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from tornado_multi.process.messages import HookFailed

LIMIT_S = 0.1


@pytest.fixture(autouse=True)
def sigalrm() -> Iterator[None]:
    """Each test leaves the timer and the handler as they were."""
    yield
    left = signal.getitimer(signal.ITIMER_REAL), signal.getsignal(signal.SIGALRM)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)

    assert ((0.0, 0.0), signal.SIG_DFL) == left


def hooks(function: Callable[..., Any], name: str = "on_ready") -> Hooks:
    return Hooks({name: function}, LIMIT_S)


def call_on_loop(function: Callable[..., Any], name: str = "on_ready") -> HookFailed | None:
    return asyncio.run(hooks(function, name).call_on_loop(name))


def module(**functions: object) -> types.ModuleType:
    made = types.ModuleType("shop")
    vars(made).update(functions)
    return made


# --- finding --------------------------------------------------------------------------------------


def test_each_hook_is_an_option() -> None:
    """The settings have one option for each hook, and the time limit."""
    assert [*NAMES, "hook_timeout_s"] == [item.name for item, _ in options_of(HookSettings)]


def test_hooks_are_found_by_name() -> None:
    """A callable of a hook's name in the app's module is that hook; anything else is none."""
    found = find_hooks(HookSettings(), module(on_starting=print, on_drain="text", other=print))

    assert {"on_starting": print} == found.functions
    assert ("on_starting",) == found.names()
    assert 10.0 == found.timeout_s


def test_without_a_module_there_are_none_by_name() -> None:
    """With --boot lazy the zygote has no module to look into."""
    assert () == find_hooks(HookSettings(), None).names()


def test_the_settings_come_before_the_name() -> None:
    """module:function of the settings replaces the function of the app's module."""
    found = find_hooks(HookSettings(on_starting="time:monotonic"), module(on_starting=print))

    assert {"on_starting": time.monotonic} == found.functions


@pytest.mark.parametrize(
    ("named", "said", "usage"),
    [
        ("time:no_such", "time has none of that name", True),
        ("time:timezone", "is no function", True),
        ("no_such_module_here:run", "ModuleNotFoundError", False),
    ],
)
def test_a_named_hook_that_is_not_there_fails_the_loading(
    named: str, said: str, *, usage: bool
) -> None:
    """The sentence names the hook, what was given and what was seen."""
    with pytest.raises(LoadError) as caught:
        find_hooks(HookSettings(on_drain=named), None)

    assert caught.value.reason.startswith(f"The hook on_drain={named} ")
    assert said in caught.value.reason
    assert usage == caught.value.usage


def test_a_module_that_leaves_at_import_fails_the_loading(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sys.exit in the hook's module must not end the zygote without a word."""
    (tmp_path / "leaving_hooks.py").write_text("import sys\nsys.exit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(LoadError) as caught:
        find_hooks(HookSettings(on_drain="leaving_hooks:run"), None)

    assert "sys.exit(3)" in caught.value.reason
    assert "leaving_hooks.py" in caught.value.detail


# --- calling --------------------------------------------------------------------------------------


def test_a_hook_gets_its_arguments() -> None:
    """No news is good news; a hook that does not exist is called by nobody."""
    seen: list[object] = []
    good = hooks(lambda *arguments: seen.append(arguments), "before_fork")

    assert None is good.call("before_fork", 3)
    assert None is good.call("after_fork", 4)
    assert [(3,)] == seen


@pytest.mark.parametrize(
    "error", [LookupError("x"), SystemExit(3), KeyboardInterrupt(), TimeoutError("t")]
)
@pytest.mark.parametrize("on_loop", [False, True])
def test_what_a_hook_raises_is_reported(error: BaseException, *, on_loop: bool) -> None:
    """Whatever it is, with the traceback from the user's first line on."""

    def fail() -> None:
        raise error

    failure = call_on_loop(fail) if on_loop else hooks(fail).call("on_ready")

    assert failure is not None
    assert "on_ready" == failure.hook
    assert failure.reason.startswith("on_ready failed: ")
    assert "raise error" in failure.detail
    assert failure.detail.splitlines()[1].startswith(f'  File "{__file__}"')


@pytest.mark.parametrize("on_loop", [False, True])
def test_a_hook_that_hangs_is_interrupted(*, on_loop: bool) -> None:
    """After hook_timeout_s, with the line at which it hung."""

    def hang() -> None:
        threading.Event().wait(60)  # the line

    failure = call_on_loop(hang) if on_loop else hooks(hang).call("on_ready")

    assert failure is not None
    assert "on_ready did not return within 0.1 s (hook_timeout_s)." == failure.reason
    assert "# the line" in failure.detail


def test_less_time_may_be_given() -> None:
    """A hook of a drain has no more than the drain; the sentence says what set the limit."""
    made = hooks(lambda: threading.Event().wait(60))
    shorter = made.within(0.02, "the drain's time")
    failure = shorter.call("on_ready")

    assert made is made.within(5.0, "the drain's time")
    assert failure is not None
    assert "on_ready did not return within 0.02 s (the drain's time)." == failure.reason


def test_a_hook_that_computes_for_ever_is_interrupted() -> None:
    """Python code that calls nothing is reached too."""

    def spin() -> None:
        while True:
            pass

    failure = hooks(spin).call("on_ready")

    assert failure is not None
    assert "did not return within" in failure.reason


def test_a_swallowed_interruption_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Except BaseException saves a hook once, not for ever."""
    monkeypatch.setattr("tornado_multi.process.time_limits.INTERRUPT_AGAIN_S", 0.013)
    swallowed: list[BaseException] = []

    def cling() -> None:
        while len(swallowed) < 3:
            try:
                threading.Event().wait(60)
            except BaseException as error:  # noqa: BLE001
                swallowed.append(error)
        threading.Event().wait(60)

    failure = hooks(cling).call("on_ready")

    assert failure is not None
    assert "did not return within" in failure.reason
    assert 3 == len(swallowed)


def test_an_except_exception_does_not_swallow_the_interruption() -> None:
    """What users write around their calls is left in peace."""

    def careful() -> None:
        while True:
            try:
                threading.Event().wait(60)
            except Exception:  # noqa: BLE001
                continue

    assert hooks(careful).call("on_ready") is not None


@pytest.mark.parametrize("name", ["on_starting", "before_fork", "after_fork", "on_worker_exit"])
def test_an_async_function_is_refused_where_there_is_no_loop(name: str) -> None:
    """It says so, without Python's warning of a coroutine that was never awaited."""

    async def hook() -> None:
        raise AssertionError

    failure = hooks(hook, name).call(name)

    assert failure is not None
    assert f"{name} is async; only on_ready and on_drain may be." == failure.reason


@pytest.mark.parametrize(
    ("name", "told"), [("on_starting", True), ("before_fork", True), ("after_fork", False)]
)
def test_a_thread_left_in_the_zygote_is_reported(name: str, *, told: bool) -> None:
    """It would not exist in the workers; in a worker it may live."""
    enough = threading.Event()
    stray = threading.Thread(target=enough.wait, name="stray")
    failure = hooks(lambda *_: stray.start(), name).call(name, 0)
    enough.set()
    stray.join()

    assert told == (failure is not None)
    if failure is not None:
        assert "left the thread 'stray' running" in failure.reason


def test_a_thread_that_ended_is_nobodys_affair() -> None:
    """Threads may be used, as long as they are joined."""

    def work() -> None:
        helper = threading.Thread(target=int)
        helper.start()
        helper.join()

    assert None is hooks(work, "before_fork").call("before_fork")


# --- SIGALRM --------------------------------------------------------------------------------------


def test_a_timer_of_the_app_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handler, interval and the rest of its time are put back after the call."""
    came: list[int] = []
    signal.signal(signal.SIGALRM, lambda number, _frame: came.append(number))
    signal.setitimer(signal.ITIMER_REAL, 50.0, 7.0)
    handler = signal.getsignal(signal.SIGALRM)
    now_s = iter([100.0, 120.0])  # the call takes 20 s
    with monkeypatch.context() as patch:
        patch.setattr("tornado_multi.process.time_limits.time.monotonic", lambda: next(now_s))
        failure = hooks(lambda: None).call("on_ready")
    left = signal.setitimer(signal.ITIMER_REAL, 0), signal.getsignal(signal.SIGALRM)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)

    assert None is failure
    assert handler == left[1]
    assert 25.0 < left[0][0] <= 30.0
    assert 7.0 == left[0][1]
    assert [] == came


def test_a_timer_that_became_due_meanwhile_fires_afterwards() -> None:
    """It is late, but not lost."""
    came = threading.Event()
    signal.signal(signal.SIGALRM, lambda *_: came.set())
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    failure = hooks(lambda: came.wait(0.02)).call("on_ready")
    assert came.wait(10)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)

    assert None is failure


def test_a_timer_that_the_hook_sets_stays() -> None:
    """on_ready may arm an alarm of its own."""

    def arm() -> None:
        signal.signal(signal.SIGALRM, handler)
        signal.alarm(100)

    def handler(*_: object) -> None:
        raise AssertionError

    failure = hooks(arm).call("on_ready")
    left = signal.setitimer(signal.ITIMER_REAL, 0)[0], signal.getsignal(signal.SIGALRM)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)

    assert None is failure
    assert handler is left[1]
    assert left[0] > 90


def test_a_handler_that_the_hook_sets_gets_no_alarm_of_ours() -> None:
    """It stays, and our timer does not fire into it."""

    def handler(*_: object) -> None:
        raise AssertionError

    failure = hooks(lambda: signal.signal(signal.SIGALRM, handler)).call("on_ready")
    left = signal.getitimer(signal.ITIMER_REAL), signal.getsignal(signal.SIGALRM)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)

    assert None is failure
    assert ((0.0, 0.0), handler) == left


# --- on the loop ----------------------------------------------------------------------------------


def test_an_async_hook_is_awaited_to_its_end() -> None:
    """It runs on the loop and may await what it likes, futures and tasks included."""
    seen: list[str] = []

    async def hook() -> None:
        await asyncio.sleep(0)
        await asyncio.get_running_loop().create_task(asyncio.sleep(0))
        await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))
        async with asyncio.timeout(10):
            await asyncio.sleep(0)
        seen.append("awaited")

    assert None is call_on_loop(hook)
    assert ["awaited"] == seen


def test_a_hook_may_return_a_future() -> None:
    """Whatever can be awaited is awaited."""

    def hook() -> Awaitable[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_exception, LookupError("late"))
        return future

    failure = call_on_loop(hook)

    assert failure is not None
    assert "on_ready failed: LookupError: late" == failure.reason


@pytest.mark.parametrize("error", [LookupError("x"), SystemExit(3), TimeoutError("own")])
def test_what_an_async_hook_raises_is_reported(error: BaseException) -> None:
    """A TimeoutError of its own is told apart from our time limit."""

    async def fail() -> None:
        await asyncio.sleep(0)
        raise error

    failure = call_on_loop(fail)

    assert failure is not None
    assert failure.reason.startswith("on_ready failed: ")
    assert "raise error" in failure.detail


def test_an_async_hook_that_waits_for_ever_is_cancelled() -> None:
    """After hook_timeout_s, with the line at which it waited."""
    cancelled: list[bool] = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()  # the line
        finally:
            cancelled.append(True)

    failure = call_on_loop(wait)

    assert failure is not None
    assert "on_ready did not return within 0.1 s (hook_timeout_s)." == failure.reason
    assert "# the line" in failure.detail
    assert [True] == cancelled


def test_an_async_hook_that_blocks_the_loop_is_interrupted() -> None:
    """A step of it has the time of a call: the loop is free again."""

    async def block() -> None:
        await asyncio.sleep(0)
        threading.Event().wait(60)  # the line

    failure = call_on_loop(block)

    assert failure is not None
    assert "did not return within 0.1 s" in failure.reason
    assert "# the line" in failure.detail


def test_an_async_hook_that_ignores_its_cancellation_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The call returns all the same, and says that it runs on."""
    monkeypatch.setattr("tornado_multi.process.time_limits.INTERRUPT_AGAIN_S", 0.013)
    swallowed: list[str] = []

    async def cling() -> None:
        while len(swallowed) < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed.append("once more")

    failure = call_on_loop(cling)

    assert failure is not None
    assert failure.reason.endswith("It ignores its cancellation and runs on.")


def test_a_hook_that_cancels_itself_is_reported() -> None:
    """CancelledError without a cancellation of the call is a failure like others."""

    async def cancel() -> None:
        raise asyncio.CancelledError

    failure = call_on_loop(cancel)

    assert failure is not None
    assert failure.reason.startswith("on_ready failed: asyncio.exceptions.CancelledError")


def test_a_call_that_is_cancelled_cancels_its_hook() -> None:
    """At the end of a drain's time nothing is left running."""

    async def scenario() -> tuple[bool, bool]:
        begun, cancelled = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise

        call = asyncio.create_task(Hooks({"on_drain": wait}, 60.0).call_on_loop("on_drain"))
        await begun.wait()
        call.cancel()
        await asyncio.wait({call})
        async with asyncio.timeout(10):
            await cancelled.wait()
        return call.cancelled(), cancelled.is_set()

    assert (True, True) == asyncio.run(scenario())


def test_uvloop_is_interrupted_too() -> None:
    """A sync hook that hangs on a uvloop loop."""
    uvloop = pytest.importorskip("uvloop")

    def hang() -> None:
        threading.Event().wait(60)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        failure = runner.run(hooks(hang).call_on_loop("on_ready"))

    assert failure is not None
    assert "did not return within" in failure.reason
