from __future__ import annotations

import gc
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

# Before numpy and scikit-learn are imported: small problems on several threads, in several test processes, mostly wait
# for each other (measured: the converter's tests take 62 s of processor time instead of 217).
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import settings
from support.processes import Client, EdgeRun, Mosquitto
from support.stores import STORES, Server

# jsonschema would compile 38 grammars of IRIs, a format that no schema of ours has: six seconds in each test process.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

# A shell that has begun the tests in the background, or `nohup`, ignores these for all that the tests start, too. What
# has a handler here has none there.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)

# A busy machine is no failure: what takes long is seen by the suite's own time limit. In CI the library's profile for
# CI says the same.
if not os.environ.get("CI"):
    settings.register_profile("busy", deadline=None)
    settings.load_profile("busy")


def need(program: str, package: str) -> None:
    """Skips, saying what would lift it; in CI a missing program is a failure."""
    if shutil.which(program) is None and not list(Path("/usr/lib").glob(f"postgresql/*/bin/{program}")):
        text = f"{program} is not installed: apt-get install {package}"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)


@pytest.fixture(scope="session")
def curl_is_here() -> None:
    """For tests that ask as a person does."""
    need("curl", "curl")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """`-n auto` is one more than the cores: a quarter of the time of this suite is waiting for brokers and services."""
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else len(os.sched_getaffinity(0)) + 1


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected stays to the end: to look for garbage among it while it grows takes a quarter of the time of
    that, in each process, and more at every later look."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a test that was skipped for want of a program has failed."""
    if hasattr(session.config, "workerinput"):
        _keep_coverage()
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("CI") or reporter is None or hasattr(session.config, "workerinput"):
        return
    wanting = [r for r in reporter.stats.get("skipped", ()) if re.search("apt-get|not installed", str(r.longrepr))]
    if wanting:
        reporter.write_line(f"{len(wanting)} tests were skipped for want of a program: a failure in CI", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _keep_coverage() -> None:
    """What `make coverage` has counted here: a worker that takes more than ten seconds to end is killed by xdist, and
    all that its tests ran would count as never run."""
    coverage = sys.modules.get("coverage")
    if coverage is not None and (counted := coverage.Coverage.current()) is not None:
        counted.save()


@pytest.fixture
def mosquitto(tmp_path) -> Iterator[Callable[..., Mosquitto]]:
    need("mosquitto", "mosquitto")
    made: list[Mosquitto] = []

    def make(extra: str = "", **options: Any) -> Mosquitto:
        made.append(Mosquitto(tmp_path / f"mosquitto{len(made)}", extra, **options))
        return made[-1].start()

    yield make
    for one in made:
        one.end()


@pytest.fixture
def broker(mosquitto) -> Mosquitto:
    return mosquitto()


@pytest.fixture
def store_server(tmp_path) -> Iterator[Callable[[str], Any]]:
    """Starts a store by its scheme."""
    made: list[Server] = []

    def make(scheme: str) -> Any:
        need(*STORES[scheme].needs)
        one = STORES[scheme](tmp_path / f"{scheme}{len(made)}")
        made.append(one)
        return one.start()

    yield make
    for one in made:
        one.end()


@pytest.fixture
def edge_run(tmp_path) -> Iterator[Callable[..., EdgeRun]]:
    made: list[EdgeRun] = []

    def start(*args: str, **options: Any) -> EdgeRun:
        made.append(EdgeRun(tmp_path / "edge-run", *map(str, args), **options))
        return made[-1]

    yield start
    for one in made:
        one.stop()


@pytest.fixture
def client() -> Iterator[Callable[..., Client]]:
    made: list[Client] = []

    def connect(port: int, *topics: str, **options: Any) -> Client:
        made.append(Client(port, *topics, **options))
        return made[-1]

    yield connect
    for one in made:
        one.close()


class Flowers:
    """A model with feature names, its rows and the answers of scikit-learn."""

    def __init__(self, folder: Path) -> None:
        from sklearn.datasets import load_iris
        from sklearn.linear_model import LogisticRegression

        import converter

        data = load_iris(as_frame=True)
        self.names = [n.replace(" (cm)", "").replace(" ", "_") for n in data.feature_names]
        table = data.data.set_axis(self.names, axis=1)
        labels = np.array(data.target_names)[data.target]
        fitted = LogisticRegression(max_iter=500).fit(table, labels)
        self.rows = table.to_dict("records")
        self.answers = list(fitted.predict(table))
        self.probabilities = fitted.predict_proba(table).max(axis=1)
        self.path = folder / "flowers.onnx"
        converter.convert(fitted, target="onnx", sample=table, name="flowers").save(self.path)


@pytest.fixture(scope="session")
def flowers(tmp_path_factory) -> Flowers:
    return Flowers(tmp_path_factory.mktemp("flowers"))
