"""The same client for code without an event loop.

Runs in: any process but a loop's thread; the loop has a daemon thread of its own, started by the
first call in each process.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import threading
import warnings
from typing import TYPE_CHECKING, Any, Self, TypeVar

from tornado_multi.dubbo.errors import OutcomeUnknownError
from tornado_multi.dubbo.names import NO_VERSION, locate_service
from tornado_multi.process.linux import keep_for_ever
from tornado_multi.resources import lives

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tornado_multi.dubbo.client import DubboClient


T = TypeVar("T")


class BlockingLoop(asyncio.SelectorEventLoop):
    """A class of its own, by which the fork-safety audit knows that workers begin anew."""


class BlockingClient:
    """Calls block until their answer is there; any number of threads may call at once."""

    def __init__(self, client: DubboClient) -> None:
        self._client = client
        self._mutex = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._epoch = lives.epoch()

    def __del__(self) -> None:
        loop = self._loop
        if loop is None or self._epoch != lives.epoch() or loop.is_closed():
            return
        closing = asyncio.run_coroutine_threadsafe(self._client.close(), loop)
        closing.add_done_callback(lambda _: loop.call_soon_threadsafe(loop.stop))
        warnings.warn(f"{self!r} was never closed.", ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        return f"<BlockingClient {self._client!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def service(
        self, name: str, *, version: str = NO_VERSION, group: str | None = None
    ) -> BlockingService:
        """Return a service whose methods can be called. Raises: BadArgumentError."""
        return BlockingService(self, *locate_service(name, version, group))

    def invoke(self, service: str, method: str, *args: Any, **options: Any) -> Any:
        """Call a method; arguments, options and errors are those of ``DubboClient.invoke``."""
        return self._wait(lambda: self._client.invoke(service, method, *args, **options))

    def ls(self, service: str | None = None) -> list[str]:
        """Return what ``DubboClient.ls`` does."""
        return self._wait(functools.partial(self._client.ls, service))

    def status(self) -> str:
        """Return what ``DubboClient.status`` does."""
        return self._wait(self._client.status)

    def ping(self, service: str | None = None) -> None:
        """Do what ``DubboClient.ping`` does."""
        self._wait(functools.partial(self._client.ping, service))

    def close(self) -> None:
        """Close all connections and end the thread; calls of other threads fail."""
        self._begin_anew_after_fork()
        with self._mutex:  # a call that comes now waits, and begins anew on another loop
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
            if loop is None or thread is None:
                return
            asyncio.run_coroutine_threadsafe(self._client.close(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    def _wait(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if asyncio._get_running_loop() is not None:  # noqa: SLF001 - what get_running_loop asks
            text = (
                "A blocking call would block this event loop; await the DubboClient's own methods."
            )
            raise RuntimeError(text)
        self._begin_anew_after_fork()
        with self._mutex:  # so that no close comes between
            future = asyncio.run_coroutine_threadsafe(make(), self._running_loop())
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise OutcomeUnknownError(
                "The call was under way when the client was closed."
            ) from None
        except BaseException:
            future.cancel()  # of a caller that was interrupted; else it is done
            raise

    def _begin_anew_after_fork(self) -> None:
        if self._epoch != lives.epoch():  # the thread did not come along, nor who held the mutex
            keep_for_ever(self._loop)  # it is another process's: collecting it would touch that
            self._mutex = threading.Lock()
            self._loop = self._thread = None
            self._epoch = lives.epoch()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop, started if need be. The caller holds the mutex."""
        if self._loop is None:
            self._loop = BlockingLoop()
            self._thread = threading.Thread(
                target=self._run, args=[self._loop], name="tornado_multi dubbo", daemon=True
            )
            self._thread.start()
        return self._loop

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            loop.run_until_complete(_cancel_all())
        finally:
            loop.close()


async def _cancel_all() -> None:
    """End the calls that wait for something else than a connection: who made them is told."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class BlockingService:
    """A service of a blocking client: ``service.getByAccountId(1)``."""

    def __init__(self, client: BlockingClient, name: str, version: str, group: str | None) -> None:
        self._client = client
        self._name = name
        self._where = {"version": version, "group": group}

    def invoke(self, method: str, *args: Any, **options: Any) -> Any:
        """Call a method by its name; options are those of ``DubboClient.invoke``."""
        return self._client.invoke(self._name, method, *args, **self._where, **options)

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if method.startswith("__") or method == "fileno":  # which many ask of any object
            raise AttributeError(method)
        return functools.partial(self.invoke, method)
