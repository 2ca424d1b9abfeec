"""Real forks: a child begins anew, touches nothing of its parent, and waits for nothing.

Each program runs in a fresh interpreter, which must not have the threads of the tests.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.process

THREADS = "ignore:This process:DeprecationWarning"
"""Python 3.12 and later warn of a fork beside threads, which is what some of these are about."""

PRELUDE = """
import asyncio, contextlib, gc, os, signal, sys, threading, traceback
import tornado_multi
from tornado_multi.resources import lives
from tornado_multi.resources.creation import creating

signal.alarm(60)
os.register_at_fork(after_in_child=lambda: signal.alarm(60))  # a child inherits no alarm


def say(what):
    '''Write a line at once and in one piece: several processes may do so.'''
    os.write(1, f"{what}\\n".encode())


class Session:
    '''Something whose end would end the session of its owner.'''

    def __init__(self, name="session"):
        self.name, self.pid = name, os.getpid()

    def close(self):
        who = "its owner" if self.pid == os.getpid() else "A STRANGER"
        say(f"closed {self.name} by {who}")

    # At the end of an interpreter the globals of a program may be gone already.
    def __del__(self, write=os.write, getpid=os.getpid):
        if self.pid != getpid():
            write(1, b"DESTROYED BY A STRANGER\\n")


@contextlib.contextmanager
def held_by_another_thread(mutex):
    held, over = threading.Event(), threading.Event()

    def hold():
        with mutex:
            held.set()
            over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        yield
    finally:
        over.set()
        thread.join()


def in_child(act, *, leaves=os._exit):
    '''Fork, act in the child, wait for it. A child that raises ends with 1.'''
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            act()
            code = 0
        except BaseException:
            traceback.print_exc()
        leaves(code)
    assert os.waitpid(pid, 0)[1] == 0
"""


def run(program: str, *, directory: Path | None = None) -> list[str]:
    """Run a program after the prelude; return the lines that it and its children print."""
    text = PRELUDE + textwrap.dedent(program)
    arguments = ["-c", text]
    if directory is not None:
        path = directory / "program.py"
        path.write_text(text)
        arguments = [str(path)]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", THREADS, *arguments],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip

    assert (0, "") == (done.returncode, done.stderr)

    return done.stdout.splitlines()


def test_a_child_creates_its_own_and_leaves_its_parents_alone() -> None:
    """Not used, not closed, not collected: not even when the child's interpreter ends."""
    lines = run("""
        accounts = tornado_multi.per_process(Session)
        mine = accounts()


        def child():
            global mine
            assert accounts().pid == os.getpid() != mine.pid
            assert accounts() is accounts()
            mine = None
            gc.collect()
            asyncio.run(tornado_multi.close_resources())


        in_child(child)
        in_child(child, leaves=sys.exit)
        assert accounts() is mine
    """)

    assert ["closed session by its owner"] * 3 == lines


def test_a_grandchild_begins_anew_too() -> None:
    """Also when the child in between has used nothing."""
    run("""
        accounts = tornado_multi.per_process(Session)
        accounts()
        seen = []


        def grandchild():
            assert accounts().pid == os.getpid()
            assert lives.epoch() == 2
            os._exit(0)


        in_child(lambda: in_child(grandchild))
        assert lives.epoch() == 0
    """)


def test_a_child_that_uses_nothing_closes_nothing() -> None:
    """At its exit it has nothing, and its parent's exit handler finds nothing in it."""
    lines = run("""
        accounts = tornado_multi.per_process(Session)
        accounts()
        in_child(lambda: None, leaves=sys.exit)
    """)

    assert ["closed session by its owner"] == lines


def test_a_lock_that_another_thread_held_does_not_block_the_child() -> None:
    """A fork in the midst of another thread's creation: the child creates for itself at once."""
    run("""
        in_factory, go_on = threading.Event(), threading.Event()


        @tornado_multi.per_process
        def accounts():
            if threading.current_thread() is not threading.main_thread():
                in_factory.set()
                go_on.wait()
            return Session()


        def child():
            assert accounts().pid == os.getpid()
            assert creating() is None


        thread = threading.Thread(target=accounts)
        thread.start()
        in_factory.wait()
        with held_by_another_thread(lives.current.mutex):
            in_child(child)
        go_on.set()
        thread.join()
        assert accounts().pid == os.getpid()
    """)


def test_a_task_that_created_at_the_fork_is_not_waited_for() -> None:
    """The child has its own loop and creates for itself; its parent's creation goes on."""
    run("""
        async def scenario():
            in_factory, go_on = asyncio.Event(), asyncio.Event()
            parent = os.getpid()

            @tornado_multi.per_process
            async def accounts():
                if os.getpid() == parent:
                    in_factory.set()
                    await go_on.wait()
                return Session()

            async def use():
                return (await accounts()).pid

            def child():
                asyncio.events._set_running_loop(None)
                assert asyncio.new_event_loop().run_until_complete(use()) == os.getpid()

            task = asyncio.create_task(use())
            await in_factory.wait()
            in_child(child)
            go_on.set()
            assert await task == os.getpid()
            await tornado_multi.close_resources()


        asyncio.run(scenario())
    """)


def test_an_async_resource_is_created_anew_in_a_child() -> None:
    """Whatever loop the child runs."""
    run("""
        @tornado_multi.per_process
        async def accounts():
            return Session()


        async def use():
            return await accounts()


        loop = asyncio.new_event_loop()
        mine = loop.run_until_complete(use())


        def child():
            asyncio.set_event_loop(None)
            assert asyncio.new_event_loop().run_until_complete(use()).pid == os.getpid()


        in_child(child)
        assert loop.run_until_complete(use()) is mine
        loop.run_until_complete(tornado_multi.close_resources())
        loop.close()
    """)


def test_a_factory_that_forks_is_told_so_in_the_child() -> None:
    """The child does not take over what was half made in its parent."""
    lines = run("""
        @tornado_multi.per_process(name="shop.forking")
        def forking():
            with held_by_another_thread(lives.current.mutex):
                pid = os.fork()
            if pid:
                assert os.waitpid(pid, 0)[1] == 0
            else:
                assert creating() is None
            return Session()


        outer = tornado_multi.per_process(lambda: forking().name)
        parent = os.getpid()
        try:
            outer()
        except tornado_multi.ForkedResourceError as error:
            assert os.getpid() != parent
            say(error.what)
            os._exit(0)
        assert os.getpid() == parent
    """)

    assert [
        "The resource shop.forking, whose factory forks,",
        "closed session by its owner",
    ] == lines


def test_a_guard_names_both_lines(tmp_path: Path) -> None:
    """The one that asked for the resource first, and the one that uses it in the child."""
    lines = run(
        """
        @tornado_multi.per_process(guard=True)
        def accounts():
            return Session()


        client = accounts()  # the line of the creation


        def child():
            try:
                client.close()  # the line of the use
            except tornado_multi.ForkedResourceError as error:
                say(error)


        say(os.getpid())
        in_child(child)
        client.close()
        """,
        directory=tmp_path,
    )
    source = (tmp_path / "program.py").read_text().splitlines()
    created, used = (
        next(number for number, line in enumerate(source, 1) if line.endswith(mark))
        for mark in ("# the line of the creation", "# the line of the use")
    )

    assert (
        f"The resource __main__.accounts was created in process {lines[0]} at "
        f"{tmp_path}/program.py:{created} and is used in process "
    ) in lines[1]
    assert f"at {tmp_path}/program.py:{used}. Call __main__.accounts() where" in lines[1]
    assert ["closed session by its owner"] * 2 == lines[2:]  # by the program, and at its exit


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_gives_each_process_its_own(method: str, tmp_path: Path) -> None:
    """Whichever way it starts them; the accessor itself can be sent."""
    lines = run(
        f"""
        import multiprocessing


        @tornado_multi.per_process
        def accounts():
            return Session()


        def work(accessor):
            assert accessor is accounts
            return accessor().pid == os.getpid()


        if __name__ == "__main__":
            accounts()
            with multiprocessing.get_context({method!r}).Pool(2) as pool:
                assert pool.map(work, [accounts] * 8) == [True] * 8
                pool.close()
                pool.join()
            say("parent ends")
        """,
        directory=tmp_path,
    )

    assert ["parent ends", "closed session by its owner"] == lines[-2:]
    assert len(lines) > 2
    assert {"closed session by its owner"} == {*lines} - {"parent ends"}


def test_tornados_own_fork_processes_gives_each_worker_its_own() -> None:
    """No supervisor of ours is needed."""
    lines = run("""
        import tornado.process

        accounts = tornado_multi.per_process(lambda: Session(f"of {tornado.process.task_id()}"))
        accounts()
        parent = os.getpid()
        try:
            tornado.process.fork_processes(2)
        except SystemExit:
            os._exit(0)
        assert os.getpid() != parent
        assert accounts().pid == os.getpid()
        sys.exit(0)
    """)

    assert ["closed of 0 by its owner", "closed of 1 by its owner"] == sorted(lines)


def test_a_fork_before_the_first_declaration_is_no_trouble() -> None:
    """The package may be imported long before."""
    run("""
        assert lives.current.pid == os.getpid()
        def child():
            accounts = tornado_multi.per_process(Session)
            assert lives.current.pid == accounts().pid == os.getpid()
            asyncio.run(tornado_multi.close_resources())
        in_child(child)
    """)


def test_an_override_survives_a_fork() -> None:
    """A test that forks keeps its fake in the child."""
    run("""
        accounts = tornado_multi.per_process(Session)
        with accounts.override("fake"):
            in_child(lambda: say(accounts()))
            assert accounts() == "fake"
    """)


def test_importing_the_package_registers_nothing() -> None:
    """The first declaration does."""
    lines = run("""
        seen = []
        register = os.register_at_fork
        os.register_at_fork = lambda **hooks: (seen.append(hooks), register(**hooks))
        import tornado_multi.resources.per_process
        say(len(seen))
        accounts = tornado_multi.per_process(Session)
        other = tornado_multi.per_process(Session)
        say(len(seen))
    """)

    assert ["0", "1"] == lines


def test_a_plain_script_closes_what_it_created() -> None:
    """At its exit, in reverse order; threads may have created some of it."""
    lines = run("""
        first = tornado_multi.per_process(lambda: Session("first"))
        second = tornado_multi.per_process(lambda: Session("second"))
        first()
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    """)

    assert ["closed second by its owner", "closed first by its owner"] == lines
