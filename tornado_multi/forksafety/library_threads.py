"""Threads that a fork leaves behind, put together by the library that has started them.

A library is known by the file through which the app's line went, or by how it calls its threads.
All threads that one line has started through one library are one finding, with the words of that
library where they are known. Rules marked "tried" were tried against the library itself (the
versions stand in docs/reference/libraries.md). Runs in: zygote; ``check``.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tornado_multi.forksafety.findings import PER_PROCESS, Severity, Site
from tornado_multi.forksafety.sites import INSTALLED
from tornado_multi.forksafety.threads import SURVIVORS, frame_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable

    from tornado_multi.forksafety.recorder import Recorder
    from tornado_multi.forksafety.threads import NativeThread

MOST_NAMES = 3


@dataclass(frozen=True)
class Rule:
    """What is known of the threads of one library."""

    library: str
    """As it is installed."""
    what: str
    harm: str
    mend: str
    severity: Severity | None = None
    opens_in_c: bool = False
    """It opens descriptors without any line being known."""


RULES = {
    "pymongo": Rule(  # tried, without a server
        "pymongo",
        "MongoClient that is open",
        "Its threads watch the servers, and will not exist in the workers; the library warns of "
        "the fork, and may deadlock.",
        "make it with connect=False, or in each process with @tornado_multi.per_process.",
    ),
    "psycopg_pool": Rule(  # tried, without a server
        "psycopg_pool",
        "ConnectionPool that is open",
        "Its threads make and mend the connections, and will not exist in the workers.",
        "make it with open=False, and open it in each worker.",
    ),
    "kazoo": Rule(  # tried, without a server
        "kazoo",
        "ZooKeeper client that is started",
        "Its threads keep the session, and will not exist in the workers; a session belongs to one "
        "process.",
        "call start() in each process, with @tornado_multi.per_process.",
    ),
    "kafka": Rule(  # tried, without a broker
        "kafka-python",
        "Kafka client",
        "Its threads talk to the brokers, and will not exist in the workers: what is sent there "
        "never leaves.",
        PER_PROCESS,
    ),
    "confluent_kafka": Rule(  # tried, without a broker
        "confluent-kafka",
        "Kafka client",
        "Its threads talk to the brokers, and will not exist in the workers: what is sent there "
        "never leaves, and closing it may hang.",
        PER_PROCESS,
        opens_in_c=True,
    ),
    "grpc": Rule(  # tried, without a server
        "grpcio",
        "gRPC channel",
        "Its threads will not exist in the workers: calls hang.",
        "make the channel in each process, with @tornado_multi.per_process.",
        opens_in_c=True,
    ),
    "sentry_sdk": Rule(  # tried, against a stand-in of the server
        "sentry-sdk",
        "Sentry has sent something",
        "The library starts its threads anew in each process; what they had not sent by the fork "
        "may be sent by several.",
        "capture nothing while the app is imported; sentry_sdk.init alone starts no thread.",
        Severity.MEDIUM,
    ),
    "tornado_multi.dubbo": Rule(  # tried, against its own provider
        "tornado_multi",
        "DubboClient for blocking calls",
        "It starts its thread anew in each process, and connects anew.",
        "nothing.",
        Severity.HANDLED,
    ),
    "opentelemetry": Rule(  # tried, without a collector
        "opentelemetry-sdk",
        "OpenTelemetry's exporter",
        "The library starts its threads anew in each process.",
        "nothing.",
        Severity.HANDLED,
    ),
}
"""top-level module -> its rule"""
NAMES = {
    "Otel": "opentelemetry",
    "tornado_multi d": "tornado_multi.dubbo",
    "sentry-sdk.": "sentry_sdk",
    "sentry.": "sentry_sdk",
    "pymongo_": "pymongo",
    "kafka-python-": "kafka",
    "rdk:": "confluent_kafka",
    "event_engine": "grpc",
    "grpc_": "grpc",
    "lifeguard": "grpc",
    "timer_manager": "grpc",
    "default-executo": "grpc",
    "resolver-execut": "grpc",
}
"""how the name of a thread begins (the kernel keeps 15 characters of it) -> top-level module"""
PATCHES = ("sentry_sdk/integrations/", "opentelemetry/instrumentation/")
"""Stand before the threads of everybody else."""


@dataclass
class Group:
    """The threads of one finding."""

    module: str
    """Top-level module of the library; empty for the app's own."""
    site: Site | None
    names: list[str] = field(default_factory=list)
    now: str = ""
    """Where the only Python thread is."""
    is_native: bool = True

    @property
    def rule(self) -> Rule | None:
        return RULES.get(self.module)

    @property
    def what(self) -> str:
        """Say it in a few words."""
        word = "native thread" if self.is_native else "thread"
        if self.rule is None and len(self.names) == 1:
            of = f" of {self.module}" if self.module and self.is_native else ""
            running = "" if self.is_native else " is running"
            return f'{word} "{self.names[0]}"{of}{running}{self.now}'
        shown = ", ".join(f'"{name}"' for name in self.names[:MOST_NAMES])
        more = len(self.names) - MOST_NAMES
        listed = f"{word}{'' if len(self.names) == 1 else 's'} {shown}"
        listed += f" and {more} more" if more > 0 else ""
        return listed if self.rule is None else f"{self.rule.what}: {listed}"


def module_of(site: Site | None) -> str:
    """Return the library that the app's line has called, or that has done it by itself."""
    if site is None:
        return ""
    if site.via is not None:
        return "" if site.via.startswith(PATCHES) else _top(site.via)
    for marker in INSTALLED:
        _, found, rest = site.file.rpartition(marker)
        if found:
            return "" if rest.startswith(PATCHES) else _top(rest)
    return ""


def _top(path: str) -> str:
    return path.split(os.sep, 1)[0].removesuffix(".py")


def module_of_name(name: str) -> str:
    """Return the library that calls its threads so."""
    return next((module for start, module in NAMES.items() if name.startswith(start)), "")


def group(
    running: Iterable[threading.Thread], natives: Iterable[NativeThread], recorder: Recorder
) -> list[Group]:
    """Return the threads, put together by library and line."""
    found: list[Group] = []
    for thread in running:
        site = _allowed(recorder.site_of(thread), thread.native_id, recorder)
        module = module_of_name(thread.name) or module_of(site)
        made = next(
            (item for item in found if module and (item.module, item.site) == (module, site)), None
        )
        if made is None:
            made = Group(module, site, is_native=False)
            found.append(made)
        made.names.append(thread.name)
        now = recorder.places.find(frame_of(thread))
        made.now = f", now at {os.path.basename(now.file)}:{now.line}" if now else ""
    for native in natives:
        module, site = recorder.native_threads.get(native.native_id, ("", None))
        module = module_of_name(native.name) or module
        site = _allowed(site, native.native_id, recorder)
        made = _of_library(found, module, site)
        if made is None:
            made = Group(module, site)
            found.append(made)
        made.names.append(native.name)
    return found


def _of_library(found: list[Group], module: str, site: Site | None) -> Group | None:
    """Return the group of a known library that a native thread joins.

    Which line has started it is known of a few only: it may begin later than the call that asked
    for it. So all join the first, unless one of them is allowed and the other is not.
    """
    if module not in RULES and module not in SURVIVORS:
        return None
    reason = None if site is None else site.allowed
    for made in found:
        if made.module == module and reason == (None if made.site is None else made.site.allowed):
            made.site = made.site or site
            return made
    return None


def _allowed(site: Site | None, native_id: int | None, recorder: Recorder) -> Site | None:
    reason = recorder.allowed_threads.get(native_id or 0)
    return site if reason is None else dataclasses.replace(site or Site("", 0), allowed=reason)
