"""What all tests share: the examples of Hypothesis, a Ctrl-C that arrives, a home for ledgers that is nobody's."""

from __future__ import annotations

import gc
import os
import signal
import ssl
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

if TYPE_CHECKING:
    from deploy.fleet.spark_cluster import SparkCluster
    from tests.storage.object_server import FaultyProxy

# Machines that run the tests are slow and noisy: no deadline for one example, and the same examples everywhere.
# `make test` and `make check` try the first eighth of them, `make test-all` all; `pytest --hypothesis-profile explore`
# tries others, and more.
settings.register_profile(
    "reelport", deadline=None, max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("few", settings.get_profile("reelport"), max_examples=8)
settings.register_profile(
    "explore", deadline=None, max_examples=400, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("reelport")

# What is collected stays to the end: nothing of it is worth a search for garbage.
gc.disable()

# A shell starts what runs in its background deaf to Ctrl-C, and every process that a test starts would inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# pyspark takes a program that has neither a file nor a name, as the processes of the tests are, for its own doctests,
# and ends it.
if sys.modules["__main__"].__spec__ is None:
    sys.modules["__main__"].__spec__ = ModuleSpec(None, None)  # type: ignore[arg-type]

WAITING = Path(__file__).with_name("whole")
TOGETHER = {
    "tests/browser/": "browser",
    "tests/engine/spark/": "spark",
    "tests/whole/wire/": "wire",
    "tests/whole/test_care.py": "sampled",
    "tests/whole/test_client.py": "sampled",
    "tests/whole/test_client_docs.py": "sampled",
    "tests/whole/test_extras_docs.py": "spark",
    "tests/whole/test_public_keys.py": "sampled",
    "tests/whole/test_ranges.py": "sampled",
    "tests/whole/test_report_command.py": "sampled",
    "tests/whole/test_wall.py": "sampled",
    "tests/whole/test_keys.py": "desk",
    "tests/whole/test_no_posix.py": "desk",
}
"""Rooms and files whose tests share services for the whole session: they run in one process, one after the other."""


class _Scheduling(LoadFileScheduling):  # type: ignore[misc] # xdist ships no types
    """Gives the tests of a file to one process, and those of files that share services."""

    def _split_scope(self, nodeid: str) -> str:
        return _scope_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _Scheduling | None:
    """Distribute tests so, where files are what is distributed."""
    return _Scheduling(config, log) if config.getoption("dist") == "loadfile" else None


def _scope_of(nodeid: str) -> str:
    file = nodeid.split("::", maxsplit=1)[0]
    return next((shared for begin, shared in TOGETHER.items() if file.startswith(begin)), file)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with files that share services; then mix those that wait for services with those that compute.

    So the longest is under way first, and whatever runs beside each other keeps all cores busy, to the last: those that
    compute begin with the files of this folder, which build and start most, and end with short ones.
    """
    _leave_out_containers(config, items)
    files = sorted({item.path for item in items})
    waiting = [file for file in files if WAITING in file.parents]
    computing = [file for file in reversed(files) if WAITING not in file.parents]
    place = {file: (0.8 * number / len(waiting), 0, "", file) for number, file in enumerate(waiting)}
    place |= {file: (number / len(computing), 1, "", file) for number, file in enumerate(computing)}
    scopes = {item.path: _scope_of(item.nodeid) for item in items}
    place |= {file: (-1, 0, scope, file) for file, scope in scopes.items() if scope in TOGETHER.values()}
    items.sort(key=lambda item: place[item.path])


def _leave_out_containers(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests that take this machine's ports, unless their mark is named."""
    if "containers" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("containers")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_collection_finish() -> None:
    """Leave modules and tests, which stay to the end, out of what the collector of garbage walks time and again."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test, nor a process that one starts, touches the ledger or the settings of whoever runs the tests."""
    before = os.environ.get("REELPORT_HOME")
    os.environ["REELPORT_HOME"] = str(tmp_path_factory.mktemp("home"))
    yield
    if before is None:
        del os.environ["REELPORT_HOME"]
    else:
        os.environ["REELPORT_HOME"] = before


@pytest.fixture(scope="session", autouse=True)
def _one_certificate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Trust one of this machine's authorities: reading all takes each client 10 ms of CPU, and no test needs them.

    But for the one that installs from a package index.
    """
    if os.environ.get("REELPORT_INSTALL"):
        yield
        return
    before = os.environ.get("SSL_CERT_FILE")
    machines = Path(before or ssl.get_default_verify_paths().cafile or "nowhere")
    if machines.is_file():
        first, end, _ = machines.read_text("utf-8").partition("-----END CERTIFICATE-----\n")
        one = tmp_path_factory.mktemp("certificates") / "one.pem"
        one.write_text(first + end, "utf-8")
        os.environ["SSL_CERT_FILE"] = str(one)
    yield
    os.environ.pop("SSL_CERT_FILE", None)
    if before is not None:
        os.environ["SSL_CERT_FILE"] = before


@pytest.fixture(autouse=True)
def _log() -> Iterator[None]:
    """A command that a test runs within this process sets up its log: later tests don't write to what it wrote to."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def object_endpoint() -> Iterator[str]:
    """The endpoint of an object store with one bucket, for all tests of this process."""
    from tests.storage.object_server import serve_objects  # noqa: PLC0415 - few tests need it

    with serve_objects() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    """A Spark of one process, for all tests of this one that need none of its workers."""
    from tests.spark_cluster import running_cluster  # noqa: PLC0415 - few tests need it

    with running_cluster(tmp_path_factory.mktemp("spark"), workers=()) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    """One Spark with its workers for all tests of this process."""
    from tests.spark_cluster import running_cluster  # noqa: PLC0415 - few tests need it

    with running_cluster(tmp_path_factory.mktemp("spark")) as cluster:
        yield cluster


@pytest.fixture
def object_server(object_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An object store that the environment names, as a service's does; gives its endpoint."""
    _name_store(monkeypatch, object_endpoint)
    return object_endpoint


@pytest.fixture
def faulty_server(object_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """The same behind a proxy that fails when it is told to; the environment names the proxy."""
    from tests.storage.object_server import serve_faults  # noqa: PLC0415 - few tests need it

    with serve_faults(object_endpoint) as proxy:
        _name_store(monkeypatch, proxy.endpoint)
        yield proxy


def _name_store(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    from tests.storage.object_server import CREDENTIALS  # noqa: PLC0415 - few tests need it

    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint}.items():
        monkeypatch.setenv(name, value)
