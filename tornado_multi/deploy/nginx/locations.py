"""The locations of the service's server block. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tornado_multi.deploy.nginx.errors import RefusedError
from tornado_multi.deploy.nginx.plan import seconds
from tornado_multi.deploy.nginx.tree import Directive
from tornado_multi.deploy.nginx.writing import literal
from tornado_multi.settings.model import health_paths
from tornado_multi.settings.nginx import split_static

if TYPE_CHECKING:
    from tornado_multi.deploy.nginx.plan import Plan


def locations(plan: Plan) -> tuple[Directive, ...]:
    """Return all locations, the most special first.

    Raises: RefusedError: one path is asked for twice.
    """
    options = plan.options
    paths: dict[str, str] = {}
    made = []
    for text in options.static:
        url, directory = split_static(text)
        _take(paths, url, f"static={text}")
        made.append(_static(plan, url, directory))
    for path in unlogged_paths(plan):
        _take(paths, path, f"the health path {path}")
        made.append(_health(plan, path))
    for path in options.stream_path:
        _take(paths, path, f"stream_path={path}")
        made.append(_stream(plan, path))
    for path in options.upload_path:
        _take(paths, path, f"upload_path={path}")
        made.append(_upload(plan, path))
    if "/" not in paths:
        made.append(Directive("location", ("/",), (*_limit(plan), _pass(plan))))
    return tuple(made)


def _health(plan: Plan, path: str) -> Directive:
    quiet = Directive("access_log", ("off",))
    if not plan.settings.instances.is_asked or path not in health_paths(plan.settings):
        return Directive(
            "location", ("=", path), (quiet, _pass(plan)), comment="Health: not logged."
        )
    block = (
        quiet,
        Directive("allow", ("127.0.0.0/8",)),
        Directive("allow", ("::1",)),
        Directive("deny", ("all",)),
        _pass(plan),
    )
    comment = "The state of one instance or another, which is no answer for clients."
    return Directive("location", ("=", path), block, comment=comment)


def unlogged_paths(plan: Plan) -> tuple[str, ...]:
    """Return the paths that only look whether the service is well, each once."""
    own = plan.settings.workers.health_path
    found = (*health_paths(plan.settings), own and own.partition("?")[0])
    return tuple(dict.fromkeys(path for path in found if path))


def limit_zone(plan: Plan) -> tuple[Directive, ...]:
    """Return what counts the requests of each client, for the http block."""
    rate = plan.options.rate_limit
    if rate is None:
        return ()
    return (
        Directive(
            "limit_req_zone",
            ("$binary_remote_addr", f"zone={_zone(plan)}:10m", f"rate={rate}"),
            comment="10 MB hold some 160,000 addresses",
        ),
    )


def _limit(plan: Plan) -> tuple[Directive, ...]:
    if plan.options.rate_limit is None:
        return ()
    burst = f"burst={plan.options.rate_burst}"
    words = (burst, "nodelay") if plan.options.rate_burst else ()
    return (
        Directive("limit_req", (f"zone={_zone(plan)}", *words)),
        Directive("limit_req_status", ("429",)),
    )


def _zone(plan: Plan) -> str:
    return f"{plan.name}_clients"


def _take(paths: dict[str, str], path: str, what: str) -> None:
    if path in paths:
        message = f"{what} and {paths[path]}: one path can't be both."
        raise RefusedError(message)
    paths[path] = what


def _matching(path: str) -> tuple[str, ...]:
    """Return what follows ``location``: everything below a path with a slash, else that one."""
    return (path,) if path.endswith("/") else ("=", path)


def _pass(plan: Plan) -> Directive:
    return Directive("proxy_pass", (plan.upstream_url,))


def _static(plan: Plan, url: str, directory: str) -> Directive:
    block = (
        Directive("alias", (literal(directory, "the directory"),)),
        Directive("absolute_redirect", ("off",), comment="of a directory: with no port of ours"),
        Directive("expires", (plan.variable("static_expires"),)),
    )
    return Directive("location", (url,), block)


def static_variables(plan: Plan) -> tuple[Directive, ...]:
    """Return the map that says how long a file may be kept, for the http block."""
    if not plan.options.static:
        return ()
    return (
        Directive(
            "map",
            ("$arg_v", plan.variable("static_expires")),
            (Directive("default", ("max",)), Directive("", ("off",))),
            comment="Tornado's static_url adds ?v=HASH: such a URL may be kept for ever, others not.",
        ),
    )


def _stream(plan: Plan, path: str) -> Directive:
    patience = seconds(plan.options.stream_timeout_s)
    block = (
        Directive("proxy_read_timeout", (patience,)),
        Directive("proxy_send_timeout", (patience,)),
        Directive("gzip", ("off",), comment="it would hold back what is to be seen at once"),
        *_limit(plan),
        _pass(plan),
    )
    comment = (
        "Websockets, event streams, long polls. An event stream is passed on as it comes if the app "
        "sends X-Accel-Buffering: no."
    )
    return Directive("location", _matching(path), block, comment=comment)


def _upload(plan: Plan, path: str) -> Directive:
    block = (Directive("proxy_request_buffering", ("off",)), *_limit(plan), _pass(plan))
    comment = "The body is passed on as it comes; such a request is never tried twice."
    return Directive("location", _matching(path), block, comment=comment)
