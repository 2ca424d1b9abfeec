"""The pytest plugin: fixtures ``cluster`` and ``cluster_factory``, marker ``tornado_multi``.

It is loaded in every run of pytest where the package is installed, so loading it imports nothing,
and a run without its fixtures is not changed by it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    import pluggy

    from tornado_multi.testing.cluster import Cluster
    from tornado_multi.testing.starting import ClusterFactory, Starter

MARKER = "tornado_multi"
APP_INI = "tornado_multi_app"
STARTER: pytest.StashKey[Starter] = pytest.StashKey()
LAST_LINES = 300
"""What a report shows of a log; the file stays in the test's tmp_path."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the ini option."""
    parser.addini(APP_INI, "App of the fixture cluster unless a marker names one: module:attr.")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(app, **options): what the fixture cluster serves; options are those of "
        "tornado-multi serve, and environment and app_arguments.",
    )


@pytest.fixture
def cluster(cluster_factory: ClusterFactory) -> Cluster:
    """A service with real processes, running and ready. Ended after the test, which fails if
    a process or a socket file of the service is left.
    """
    from tornado_multi.testing.errors import ClusterError, OptionError

    try:
        return cluster_factory()
    except (ClusterError, OptionError) as error:
        problem = str(error)
    # Where the fixtures are tells nobody anything; what the service said does.
    pytest.fail(problem, pytrace=False)


@pytest.fixture
def cluster_factory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ClusterFactory]:
    """Starts services: ``cluster_factory("shop:make_app", workers=2)``; ``ready=False`` does not
    wait. They are ended after the test, as that of the fixture ``cluster`` is.
    """
    starter = _starter(request, tmp_path)
    request.node.stash[STARTER] = starter
    yield starter
    if problems := starter.close():
        pytest.fail("\n".join(problems), pytrace=False)


def _starter(request: pytest.FixtureRequest, tmp_path: Path) -> Starter:
    from tornado_multi.testing.errors import OptionError
    from tornado_multi.testing.starting import Starter, merge_markers

    markers = [(mark.args, mark.kwargs) for mark in request.node.iter_markers(MARKER)]
    problem = ""
    try:
        marked = merge_markers(markers)
    except OptionError as error:
        problem = str(error)
    if problem:
        pytest.fail(problem, pytrace=False)
    import_path: list[Any] = []
    with contextlib.suppress(ValueError, KeyError):  # that plugin may be switched off
        import_path = request.config.getini("pythonpath")
    return Starter(
        directory=tmp_path,
        root=request.config.rootpath,
        test_directory=request.path.parent,
        marked=marked,
        default_app=request.config.getini(APP_INI),
        import_path=import_path,
    )


# The older form of a wrapper: this file is loaded also by a pytest that knows no other.
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pluggy.Result[pytest.TestReport], None]:
    """Show the logs of a failed test's services."""
    outcome = yield
    report = outcome.get_result()
    starter = item.stash.get(STARTER, None)
    if starter is not None and report.failed:
        said = str(call.excinfo.value) if call.excinfo is not None else ""
        for made in starter.started:
            log = made.log()
            if log.strip() not in said:
                lines = "\n".join(log.splitlines()[-LAST_LINES:])
                report.sections.append((f"tornado_multi log of {made.app} (pid {made.pid})", lines))
