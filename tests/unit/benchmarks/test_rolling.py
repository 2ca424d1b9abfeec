"""The bench of rolling restarts, as far as it is data and words."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.rolling.nginx_text import (
    last_tried,
    log_kinds,
    server_wide_text,
    upstream_file,
    was_sent_twice,
)
from benchmarks.rolling.outcome import UNREAD, Failure, Kill, Outcome, Run, percentile, with_unread
from benchmarks.rolling.page import COLUMNS, missed_promises, render_page, render_table
from benchmarks.rolling.procedures import OURS, PLAIN
from benchmarks.rolling.rows import NEVER_OUT, ROWS, Row, Upstream

BY_KEY = {row.key: row for row in ROWS}
KILL = Kill("127.0.0.1:8002", at_s=10.0, dead_at_s=10.1)
ADDRESSES = ["127.0.0.1:8001", "unix:/run/1.sock"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_every_row_can_be_done(row: Row) -> None:
    """Each row's procedure is known for its kind of instances."""
    assert row.procedure in (OURS if row.is_ours else PLAIN)


def test_no_row_stands_twice() -> None:
    """Keys are unique, and no two rows do the same."""
    assert len(ROWS) == len({row.key for row in ROWS})
    assert len(ROWS) == len({(row.title(), row.upstream, row.method) for row in ROWS})


def test_the_upstream_says_what_the_row_wants() -> None:
    """Failures, the instance that is down, and keep-alive stand in the file of the instances."""
    text = upstream_file(NEVER_OUT, ADDRESSES, "/run", frozenset({1})).text

    assert "    server 127.0.0.1:8001 max_fails=0;\n" in text
    assert "    server unix:/run/1.sock max_fails=0 down;\n" in text
    assert "    keepalive 16;\n" in text


def test_a_hash_proves_which_file_is_served() -> None:
    """Files that differ have different hashes, and each serves its own."""
    files = [
        upstream_file(NEVER_OUT, ADDRESSES, "/run", down) for down in (frozenset({0}), frozenset())
    ]

    assert 2 == len({file.digest for file in files})
    assert all(f'return 200 "{file.digest}"' in file.text for file in files)


def test_without_keepalive_nginx_is_left_as_it_is_by_default() -> None:
    """As in Tornado's guide: HTTP/1.0, and a connection for each request."""
    bare = Upstream(keepalive=0)

    assert "keepalive" not in upstream_file(bare, ADDRESSES, "/run").text
    assert "proxy_http_version" not in server_wide_text(bare, "/run", 1, is_root=False)
    assert "proxy_http_version 1.1" in server_wide_text(NEVER_OUT, "/run", 1, is_root=False)


def test_lines_of_the_error_log_are_counted_by_kind() -> None:
    """Notices are no lines about a request, and what is not known is still counted."""
    log = """\
2026/11/25 16:10:17 [notice] 5#5: signal 1 (SIGHUP) received, reconfiguring
2026/11/25 16:10:17 [error] 7#7: *1 connect() failed (111: Connection refused) while connecting
2026/11/25 16:10:17 [error] 7#7: *2 connect() failed (111: Connection refused) while connecting
2026/11/25 16:10:17 [error] 7#7: *3 no live upstreams while connecting to upstream
2026/11/25 16:10:17 [alert] 7#7: something new
"""

    assert {"refused": 2, "no live upstreams": 1, "other": 1} == log_kinds(log)


@pytest.mark.parametrize(
    ("tries", "expected"),
    [
        ("127.0.0.1:8001 | 0.000", False),
        ("127.0.0.1:8001, 127.0.0.1:8002 | -, 0.000", False),
        ("127.0.0.1:8001, 127.0.0.1:8002 | 0.000, 0.000", True),
        ("app | -", False),
        ("", False),
    ],
)
def test_a_request_is_sent_twice_if_two_instances_were_reached(
    tries: str, *, expected: bool
) -> None:
    """A refused try sends nothing."""
    assert expected is was_sent_twice(tries)


@pytest.mark.parametrize(
    ("tries", "expected"),
    [
        ("127.0.0.1:8001, 127.0.0.1:8002 | -, 0.000", "127.0.0.1:8002"),
        ("unix:/run/0.sock | 0.000", "unix:/run/0.sock"),
        ("app | -", ""),
        ("", ""),
    ],
)
def test_who_was_tried_last(tries: str, expected: str) -> None:
    """The name of the upstream is nobody's address: nginx writes it if all servers are out."""
    assert expected == last_tried(tries)


@pytest.mark.parametrize(
    ("failure", "is_excused"),
    [
        (Failure("502", 9.99, 10.0, KILL.address), True),
        (Failure("502", 10.05, 10.2, KILL.address), True),
        (Failure("502", 9.99, 10.0, "127.0.0.1:8003"), False),
        (Failure("502", 9.0, 9.1, KILL.address), False),
        (Failure("502", 10.2, 10.3, KILL.address), False),
        (Failure("lost", 9.99, 10.0), False),
    ],
)
def test_only_what_was_inside_a_killed_instance_is_excused(
    failure: Failure, *, is_excused: bool
) -> None:
    """In that instance, and in progress at its end; nothing else, and nothing without a kill."""
    assert is_excused is (Run(failures=(failure,), kill=KILL).unexcused() == ())
    assert (failure,) == Run(failures=(failure,)).unexcused()


def test_what_nginx_never_read_is_told_apart() -> None:
    """A lost request without a line in the access log is nginx's own; it fails, and is excused."""
    lost = [Failure("lost", 1, 2, request_id=name) for name in ("a", "b")]
    failures = with_unread([*lost, Failure("502", 1, 2, request_id="c")], frozenset({"b"}))
    outcome = Outcome((Run(sent=9, failures=failures),))

    assert [UNREAD, "lost", "502"] == [failure.kind for failure in failures]
    assert (3, 2) == (outcome.failed, outcome.unexcused)


def test_a_percentile_is_a_value_that_was_seen() -> None:
    """The nearest rank, without anything between two values."""
    values = [float(value) for value in range(1, 101)]

    assert [50.0, 99.0, 100.0] == [percentile(values, percent) for percent in (50, 99, 100)]
    assert 7.0 == percentile([7.0], 50)


def test_the_cells_of_a_row_say_what_was_seen() -> None:
    """Failures are set in bold, and by kind; the runs are taken together."""
    bad = Run(
        sent=10,
        failures=(Failure("502", 1, 2), Failure("502", 1, 2), Failure("lost", 1, 2)),
        latencies_ms=(20.0, 30.0),
        reconnects=Counter({"idle closed": 3}),
        sent_twice=1,
        log_kinds=Counter(refused=4),
        roll_s=2.0,
    )
    good = Run(sent=5, latencies_ms=(25.0,), roll_s=3.0)

    assert [
        "**3 / 15**",
        "25 / 30 / 30",
        "3",
        "4 refused",
        "2.50",
        "2 502, 1 lost; by run 3, 0; 1 POSTs sent twice",
    ] == Outcome((bad, good)).cells()


def test_a_run_that_broke_off_is_bad_without_a_failure() -> None:
    """The reason stands in the notes, and the cell is bold."""
    cells = Outcome((Run(sent=10, problem="no answer"),)).cells()

    assert ("**0 / 10**", "no answer") == (cells[0], cells[-1])


def test_the_table_has_a_line_for_each_row_that_was_run() -> None:
    """Every line has as many cells as there are columns."""
    outcomes = {"6": Outcome((Run(sent=1),)), "O2": Outcome((Run(sent=1),))}
    lines = render_table(ROWS, outcomes).splitlines()

    assert 4 == len(lines)
    assert {len(COLUMNS) + 1} == {line.count("|") for line in lines}
    assert "| 6 | graceful: stop, start | 0 | POST | 16 | error |" in lines[2]


def test_a_promise_is_missed_by_ours_alone() -> None:
    """Failures elsewhere are what the page is for; of ours, a killed process excuses its own."""
    failed = Run(failures=(Failure("502", 9.99, 10.0, KILL.address),))
    killed = Run(failures=failed.failures, kill=KILL)
    broken = Run(problem="reload: exit 1")
    runs = {"4": failed, "O1": Run(), "O2": failed, "O5": broken, "O8": killed}
    outcomes = {key: Outcome((run,)) for key, run in runs.items()}

    assert ["O2", "O5"] == missed_promises(ROWS, outcomes)


def test_the_page_names_its_conditions() -> None:
    """Versions, machine and date stand above the table."""
    page = render_page(ROWS, {"6": Outcome((Run(sent=1),))}, "nginx 1.2.3, 2026-01-01")

    assert page.index("nginx 1.2.3, 2026-01-01") < page.index("| 6 |") < page.index("*failed*")
