"""Clients of libraries that start threads, made at import as people make them, one function each.

``LAZY`` has what their manuals advise: the same clients, not yet connected or started.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

ADDRESS = "127.0.0.1:9"
"""Where nobody listens (the port of the discard protocol)."""

PLANTS: dict[str, Callable[[], Any]] = {}
LAZY: dict[str, Callable[[], Any]] = {}


def plant(function: Callable[[], Any]) -> Callable[[], Any]:
    PLANTS[function.__name__] = function
    return function


def lazy(function: Callable[[], Any]) -> Callable[[], Any]:
    LAZY[function.__name__] = function
    return function


# --- started at import ----------------------------------------------------------------------------


@plant
def pymongo() -> Any:
    from pymongo import MongoClient

    return MongoClient(ADDRESS)  # hazard: thread


@plant
def psycopg_pool() -> Any:
    import logging

    from psycopg_pool import ConnectionPool

    logging.getLogger("psycopg.pool").disabled = True
    return ConnectionPool("host=127.0.0.1 port=9", open=True)  # hazard: thread


@plant
def kazoo() -> Any:
    from kazoo.client import KazooClient

    client = KazooClient(ADDRESS)
    client.start_async()  # hazard: thread
    return client


@plant
def kafka_python() -> Any:
    from kafka import KafkaProducer

    return KafkaProducer(bootstrap_servers=ADDRESS, api_version=(2, 5))  # hazard: thread


@plant
def confluent_kafka() -> Any:
    from confluent_kafka import Producer

    options = {"bootstrap.servers": ADDRESS, "log_level": 0}
    return Producer(options)  # hazard: native-thread


@plant
def grpc() -> Any:
    import grpc

    return grpc.insecure_channel(ADDRESS)  # hazard: native-thread


@plant
def sentry_sdk() -> Any:
    import sentry_sdk

    sentry_sdk.init(dsn=f"http://public@{ADDRESS}/1")
    return sentry_sdk.capture_message("the service begins")  # hazard: thread


@plant
def opentelemetry() -> Any:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))  # hazard: thread
    return provider


@plant
def tornado_client() -> Any:
    from tornado.httpclient import AsyncHTTPClient

    return AsyncHTTPClient()  # hazard: event-loop


# --- as the manuals advise ------------------------------------------------------------------------


@lazy
def pymongo_not_connected() -> Any:
    from pymongo import MongoClient

    return MongoClient(ADDRESS, connect=False)


@lazy
def psycopg_pool_not_open() -> Any:
    from psycopg_pool import ConnectionPool

    return ConnectionPool("host=127.0.0.1 port=9", open=False)


@lazy
def kazoo_not_started() -> Any:
    from kazoo.client import KazooClient

    return KazooClient(ADDRESS)


@lazy
def sentry_without_an_event() -> Any:
    import sentry_sdk

    return sentry_sdk.init(dsn=f"http://public@{ADDRESS}/1")


@lazy
def tornado_client_configured() -> Any:
    from tornado.httpclient import AsyncHTTPClient

    return AsyncHTTPClient.configure(None, max_clients=50)


@lazy
def imports() -> Any:
    import confluent_kafka
    import grpc
    import grpc.aio
    import kafka
    import opentelemetry.sdk.metrics

    return confluent_kafka, grpc, kafka, opentelemetry
