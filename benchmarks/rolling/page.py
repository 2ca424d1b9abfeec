"""The page of the docs: the table, what was done, and what the figures mean. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.rolling.rows import INSTANCES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.rolling.outcome import Outcome
    from benchmarks.rolling.rows import Row

    Outcomes = Mapping[str, Outcome]
    """By the key of the row."""

COLUMNS = (
    *("", "instances and procedure", "max_fails", "method", "keepalive", "next_upstream"),
    *("failed / sent", "p50 / p99 / max ms", "reconnects", "nginx's error log", "roll s", "notes"),
)

HEAD = """\
# Rolling restarts behind nginx

What `make bench-rolling` did to three instances behind one nginx in one go on one machine, and what their clients saw.
The command starts a real nginx and the instances on 127.0.0.1, does each row one after the other, and writes this page; bad rows stand here like good ones.
`.venv/bin/python -m benchmarks.rolling -h` says how one row is run alone; `make bench-rolling RUNS=5` does each row five times.
"""

HOW = f"""\
## What is done

- {INSTANCES} instances, which take 0.5 s to import and 20 ms for each request, stand behind one nginx worker with a shared `zone`.
- 16 clients keep their connections and send one request each 40 ms, 400 in a second together, for 8 s or until the roll is over; who is late does not catch up.
- The roll begins when 400 requests have been sent; instances are replaced in turn, 0.2 s apart where nothing else sets the pace.
- *naive* is a Tornado process without a signal handler, so that TERM ends it at once.
- *graceful* stops accepting, says `Connection: close` with each answer, finishes what is in progress, and closes connections that are still idle after 0.5 s; *idle cut* closes those at once.
- *listener held* means that somebody who outlives the instances has bound the address, and each instance inherits it.
- *down* means that nginx's upstream is written anew with the instance marked `down`, and nginx is told to reload; it is awaited until the hash of the new file is served and no nginx worker of before is left.
- *up and next down in one reload* restores one instance and takes out the next in one write: one reload more than there are instances.
- **tornado_multi** is `tornado-multi instances`, with defaults but for addresses; *reload* imports the app anew, *restart of each* is `restart FORK_ID` in turn, *scale* tells nginx of new instances when they are ready, and of the end of old ones before they leave.

## What the figures mean

- *failed*: the status was not 200, or the body not the right one, or the connection was lost or silent for 10 s after the request had been sent.
- *reconnects* are no failures: the connection was closed while it was idle, or by an answer that said so, or refused before anything was sent.
- *lost, unread by nginx* is a failure too: nginx closed the connection, because it was reloading, when the request was on its way, so that its access log has no line of it; HTTP/1.1 cannot prevent that (RFC 9112, section 9.5), and nginx from 1.27.4 on has `keepalive_min_timeout` against it.
- Failures are set in bold unless all of them were unread by nginx or inside a killed process.
- Latencies are those of successes, measured by the clients from the sending to the last byte.
- *nginx's error log* counts lines by kind; each line about an instance is one try that failed, whether or not another one succeeded.
- *roll s* is the time from the first step of the replacement to the end of the last one, the end of old processes included.
- *sent twice* counts POSTs that nginx gave to a second instance though the first may have done the work.
- A request is *inside the killed process* if it was in progress in that instance when the signal came.
- With several runs, requests, reconnects and lines are sums, latencies those of all runs, and the roll is the mean.
- Zero means "not seen in so many requests", and no figure here is one of speed: the machine has few cores, which clients, nginx, instances and other work share.
- Where `max_fails` is not 0, one failure takes an instance out for 10 s (`fail_timeout`); a roll that is faster takes out all of them, and nginx answers 502 though every instance is up.
- With `fail_timeout=1s` all of them are out at once only for moments, and whether that happens depends on the pace of the roll: several runs of such a row differ.
"""


def render_page(rows: Sequence[Row], outcomes: Outcomes, conditions: str) -> str:
    """Return the whole page.

    Args: conditions: one line on versions, machine and date.
    """
    return "\n".join([HEAD, f"{conditions}\n", render_table(rows, outcomes), HOW])


def render_table(rows: Sequence[Row], outcomes: Outcomes) -> str:
    """Return the table; rows that were not run are left out."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{' - |' * len(COLUMNS)}"]
    for row in rows:
        outcome = outcomes.get(row.key)
        if outcome is not None:
            cells = [row.key, row.title(), *_settings_cells(row), *outcome.cells()]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _settings_cells(row: Row) -> list[str]:
    upstream = row.upstream
    return [
        upstream.failures.replace("max_fails=", "").replace(" ", ", ") or "default",
        row.method,
        str(upstream.keepalive) if upstream.keepalive else "none",
        upstream.next_upstream,
    ]


def missed_promises(rows: Sequence[Row], outcomes: Outcomes) -> list[str]:
    """Return the keys of our rows in which a request failed, or that broke off.

    What was inside a killed process, or never read by nginx, is no promise.
    """
    return [
        row.key
        for row in rows
        if row.is_ours
        and (outcome := outcomes.get(row.key)) is not None
        and (outcome.unexcused or outcome.problems)
    ]
