"""``per_process`` and ``PerProcess``: an object that each process creates for itself on first use.

The accessor returns the object itself. It lies in one slot, which a fork empties in the child: the
way of a call that finds it there is one look into the slot (58 ns; 109 ns with an attribute that is
compared with a mark, on the machine that measured both).
Runs in: any process, before and after forks, on any thread.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, overload

from tornado_multi.process.linux import keep_for_ever
from tornado_multi.resources import lives
from tornado_multi.resources.closing import register_at_exit
from tornado_multi.resources.creation import (
    Creation,
    InterruptedCreationError,
    wait_for,
    waited,
    within,
)
from tornado_multi.resources.factories import closer, is_async, name_of, refuse_unfit
from tornado_multi.resources.guards import ForkedResourceError, OwnedByProcess, guarded
from tornado_multi.resources.lives import Created
from tornado_multi.resources.sites import calling_site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CoroutineType

R = TypeVar("R")
"""What the factory returns; of an async one, the coroutine."""
_NOTHING: Final = object()


class PerProcess(Generic[R]):
    """The accessor of one resource: call it to have the object of this process.

    Args:
        factory: takes no arguments. If it is async the accessor is awaited.
        close: takes the object, sync or async. None: its ``aclose`` or else its ``close`` method,
            if it has one.
        health: takes the object, sync or async; raises or returns False if something is wrong.
        name: as status and errors show it. None: the factory's module and name.
        guard: return a thin proxy, which refuses to be used in a forked child.
    Raises: TypeError: the factory takes arguments, or is a generator.
    """

    __slots__ = ("__dict__", "__weakref__", "_is_over", "_value")
    _value: Any
    """What the accessor returns; the slot is empty while that has to be created."""
    _is_over: Callable[[], bool]
    """Tells whether the value has outlived its event loop."""

    def __new__(cls, factory: Callable[[], R], **_options: Any) -> PerProcess[R]:
        """Make the accessor that suits the factory."""
        kind = _AsyncPerProcess if cls is PerProcess and is_async(factory) else cls
        return object.__new__(kind)

    def __init__(
        self,
        factory: Callable[[], R],
        *,
        close: Callable[[Any], object] | None = None,
        health: Callable[[Any], object] | None = None,
        name: str | None = None,
        guard: bool = False,
    ) -> None:
        refuse_unfit(factory)
        lives.watch_forks()
        self._is_over = bool
        self._factory = factory
        self._close = close
        self._health = health
        self._guard = guard
        self._created: Created | None = None
        self._creation: Creation | None = None
        self._overrides: list[tuple[object]] = []
        functools.update_wrapper(self, factory, updated=())
        self.name = name or name_of(factory)

    def __call__(self) -> R:
        """Return the object of this process; create it if this is the first use.

        Raises: what the factory raises, to all who wait for it; the next call tries again.
            RuntimeError: the factory needs what it is to create.
        Blocks: while the factory runs, in this thread or another.
        """
        try:
            return self._value  # type: ignore[no-any-return]  # the factory's own
        except AttributeError:
            pass  # leave this block first, or its error would be shown with those of the factory
        return self._obtain()

    @contextmanager
    def override(self, value: object) -> Iterator[None]:
        """Have the accessor return *value* in this process, for tests; at the end, as before."""
        box = (value,)
        self._overrides.append(box)
        self._show()
        try:
            yield
        finally:
            self._overrides = [item for item in self._overrides if item is not box]
            self._show()

    def forget(self, created: Created | None) -> None:
        """Let go of what there is; see ``lives.Holder``."""
        if created is None or created is self._created:
            self._created = None
        if created is None:
            self._creation = None
        self._show()

    def __repr__(self) -> str:
        return f"<per_process {self.name}>"

    def __reduce__(self) -> str:
        """Pickle by name, as functions are: another process finds its own accessor."""
        name = getattr(self, "__qualname__", None)
        if name is None:
            text = f"The accessor of {self.name} has no name under which it could be found again."
            raise TypeError(text)
        return str(name)

    # --- creating ---------------------------------------------------------------------------------

    def _obtain(self) -> R:
        """Create the object, or wait until another thread has."""
        while True:
            with lives.current.mutex:
                value = getattr(self, "_value", _NOTHING)
                if value is not _NOTHING:
                    return value  # type: ignore[return-value]  # as above
                creation, is_ours, waiting = self._join(None)
            try:
                if is_ours:
                    return self._create(creation)  # type: ignore[no-any-return]  # as above
                return creation.outcome.result()  # type: ignore[no-any-return]  # as above
            except InterruptedCreationError:
                continue
            except BaseException as error:
                if is_ours:  # also when a signal came before the factory began
                    self._fail(creation, error)
                raise
            finally:
                waited(waiting, creation)

    def _join(
        self, loop: asyncio.AbstractEventLoop | None
    ) -> tuple[Creation, bool, Creation | None]:
        """Find the creation under way, or begin one. The caller holds the mutex."""
        creation = self._creation
        is_ours = creation is None
        if creation is None:
            creation = Creation(self, self.name, lives.current, calling_site(), loop)
        waiting = wait_for(creation, blocks=loop is None and not is_ours)
        if is_ours:
            self._creation = creation
            lives.current.creations.add(creation)
        return creation, is_ours, waiting

    def _create(self, creation: Creation) -> Any:
        try:
            with within(creation):
                made = self._factory()
            if inspect.iscoroutine(made):
                made.close()
                text = (
                    f"The factory of the resource {self.name} returned a coroutine. Declare it "
                    "with async def, and await the accessor."
                )
                raise TypeError(text)
            created = self._describe(creation, made)
        except BaseException as error:
            self._fail(creation, error)
            raise
        return self._complete(creation, created)

    def _fail(self, creation: Creation, error: BaseException) -> None:
        """Let go of a creation that came to nothing, and tell those who wait for it."""
        with creation.life.mutex:
            if creation.outcome.done():
                return
            creation.life.creations.discard(creation)
            if self._creation is creation:
                self._creation = None
            # KeyboardInterrupt and its like are meant for the one who was interrupted.
            is_shared = isinstance(error, Exception)
            creation.outcome.set_exception(error if is_shared else InterruptedCreationError())

    def _describe(self, creation: Creation, made: Any) -> Created:
        shown = made
        if self._guard:
            mend = f"Call {self.name}() where you use it, and do not keep what it returns."
            owner = OwnedByProcess(f"The resource {self.name}", mend, creation.site)
            shown = guarded(made, owner)
        return Created(
            self,
            self.name,
            made,
            shown,
            closer(made, self._close),
            None if self._health is None else functools.partial(self._health, made),
            creation.site,
            creation.loop,
        )

    def _complete(self, creation: Creation, created: Created) -> Any:
        """Make what was created the object of this process, and give it to those who wait."""
        life = creation.life
        if life is not lives.current:  # the factory itself has forked, and this is the child
            keep_for_ever(created)
            what = f"The resource {self.name}, whose factory forks,"
            raise ForkedResourceError(what, life.pid, creation.site)
        with life.mutex:
            life.creations.discard(creation)
            life.add(created)
            self._created, self._creation = created, None
            self._show()
            must_register = not life.closes_at_exit
            life.closes_at_exit = True
        if must_register:
            register_at_exit()
        creation.outcome.set_result(created.shown)
        life.changed()
        return created.shown

    def _show(self) -> None:
        """Make the accessor return what it now has to."""
        created = self._created
        loop = None if created is None else created.loop
        self._is_over = bool if loop is None else loop.is_closed
        if self._overrides:
            self._value, self._is_over = self._overrides[-1][0], bool
        elif created is not None:
            self._value = created.shown
        elif hasattr(self, "_value"):
            del self._value


class _AsyncPerProcess(PerProcess[R]):
    """The accessor of a resource whose factory is async. It belongs to the loop that created it."""

    __slots__ = ()

    async def __call__(self) -> Any:  # type: ignore[override]  # R is the coroutine itself
        """Return the object of this process; see ``PerProcess.__call__``.

        It is tied to the loop that created it, as asyncio's objects are, and created anew when
        that is closed. Which loop asks is not looked at: that alone would cost a system call.
        """
        try:
            if not self._is_over():
                return self._value
        except AttributeError:
            pass  # as above
        return await self._obtain_on_loop()

    async def _obtain_on_loop(self) -> Any:
        """Create the object, or wait until it is created; a cancelled waiter cancels nothing."""
        loop = asyncio.get_running_loop()
        while True:
            self._drop_if_its_loop_is_closed()
            with lives.current.mutex:
                if self._overrides:
                    return self._overrides[-1][0]
                if self._created is not None:
                    return self._created.shown
                self._refuse_to_wait_for_a_loop_at_rest()
                creation, is_ours, waiting = self._join(loop)
            if is_ours:
                work, name = self._create_on_loop(creation), f"tornado_multi create {self.name}"
                creation.task = loop.create_task(work, name=name)
                # One that is cancelled before its first step can't say so itself.
                ended = functools.partial(self._task_ended, creation)
                creation.task.add_done_callback(ended)
            try:
                return await asyncio.wrap_future(creation.outcome)
            except InterruptedCreationError:
                if is_ours:
                    text = f"The creation of the resource {self.name} was cancelled."
                    raise RuntimeError(text) from None
            finally:
                waited(waiting, creation)

    async def _create_on_loop(self, creation: Creation) -> None:
        try:
            with within(creation):
                made = await self._factory()  # type: ignore[misc]  # async: that is what we are for
            self._complete(creation, self._describe(creation, made))
        except BaseException as error:
            self._fail(creation, error)
            if not isinstance(error, Exception):
                raise  # the end of this task, or of the loop

    def _task_ended(self, creation: Creation, _task: asyncio.Task[None]) -> None:
        self._fail(creation, asyncio.CancelledError())

    def _drop_if_its_loop_is_closed(self) -> None:
        """Forget what belongs to a loop that has ended: nobody can use or close it any more."""
        created, creation = self._created, self._creation
        if created is not None and created.loop is not None and created.loop.is_closed():
            lives.current.drop(created)
        if creation is not None and creation.loop is not None and creation.loop.is_closed():
            self._fail(creation, asyncio.CancelledError())

    def _refuse_to_wait_for_a_loop_at_rest(self) -> None:
        creation = self._creation
        if creation is not None and creation.loop is not None and not creation.loop.is_running():
            text = (
                f"The resource {self.name} is being created on another event loop, which does not "
                f"run (asked for at {creation.site}). Let that loop go on, or close it first."
            )
            raise RuntimeError(text)


# Python warns of one that was never awaited, and names it so.
_AsyncPerProcess.__call__.__qualname__ = "the accessor of an async per_process resource"


def name_of_coroutine(coroutine: CoroutineType[Any, Any, Any]) -> str | None:
    """Return the resource whose accessor has returned *coroutine*; None: of something else."""
    if coroutine.cr_code is not _AsyncPerProcess.__call__.__code__:
        return None
    frame = coroutine.cr_frame  # None once it has ended
    accessor = None if frame is None else frame.f_locals.get("self")
    return accessor.name if isinstance(accessor, PerProcess) else None


@overload
def per_process(factory: Callable[[], R], /) -> PerProcess[R]: ...


@overload
def per_process(
    *,
    close: Callable[[Any], object] | None = None,
    health: Callable[[Any], object] | None = None,
    name: str | None = None,
    guard: bool = False,
) -> Callable[[Callable[[], R]], PerProcess[R]]: ...


def per_process(factory: Callable[[], Any] | None = None, /, **options: Any) -> Any:
    """Make a factory the accessor of what it creates, once per process, on first use.

    Bare or with the keywords of ``PerProcess``. Runs in: any process; at import, as a rule.
    """
    if factory is None:
        return functools.partial(PerProcess, **options)
    return PerProcess(factory, **options)
