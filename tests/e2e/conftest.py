"""One real Airflow and one local AWS for all end-to-end tests, and the folder with which they control their jobs."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from demo.airflow import NO_SCHEDULES, Airflow
from demo.aws import LocalAws

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
DAGS = (
    "resumed",
    "repeated",
    "cleared",
    "cleared_at_once",
    "marked",
    "worker_killed",
    "handed_over",
    "joined",
    "backfilled",
    "beside_cluster",
    "steps_marked",
    "steps_cleared",
    "steps_worker_killed",
)

#: Shorter timeouts than Airflow's defaults (30 s, 300 s) to detect dead processes, so that the tests are fast.
SETTINGS = {
    **NO_SCHEDULES,
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "10",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "6",
}


@dataclass(frozen=True)
class Work:
    """The folder that controls the programs of the jobs; see programs/work.sh."""

    folder: Path

    def hold(self, dag: str, job: str, *indices: int) -> None:
        """Make these indices wait after their start."""
        for index in indices:
            (self.folder / f"hold.{dag}.{job}.{index}").touch()

    def release(self, dag: str) -> None:
        """Let all indices of this Dag continue."""
        for path in self.folder.glob(f"hold.{dag}.*"):
            path.unlink()

    def break_(self, dag: str, job: str, *indices: int) -> None:
        """Make these indices fail."""
        for index in indices:
            (self.folder / f"break.{dag}.{job}.{index}").touch()

    def fix(self, dag: str) -> None:
        """Make all indices of this Dag succeed."""
        for path in self.folder.glob(f"break.{dag}.*"):
            path.unlink()

    def count(self, event: str, dag: str, job: str | None = None) -> Counter[int]:
        """Count how often each index of a job has `started` or is `done` in all runs, as recorded by its program."""
        journal = self.folder / "journal"
        lines = journal.read_text().splitlines() if journal.exists() else []
        rows = (line.split() for line in lines)
        return Counter(int(index) for what, _, of, name, index in rows if (what, of, name) == (event, dag, job or dag))


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    """The folder in which the jobs record what they did."""
    return Work(tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    """The local AWS as a separate process."""
    aws = LocalAws(tmp_path_factory.mktemp("aws"), [HERE / "programs"], slots=8)
    try:
        aws.start()
        yield aws
    finally:
        aws.stop()


@pytest.fixture(scope="session")
def dags_folder(tmp_path_factory: pytest.TempPathFactory, work: Work) -> Path:
    """A copy of the Dag folder, so that tests can add files."""
    folder = tmp_path_factory.mktemp("dags")
    for path in (HERE / "pipelines").iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    file = folder / "e2e.yaml"
    file.write_text(file.read_text().replace("WORK", str(work.folder)))
    return folder


@pytest.fixture(scope="session")
def airflow(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, aws: LocalAws, dags_folder: Path
) -> Iterator[Airflow]:
    """A real `airflow standalone` that has loaded the Dags."""
    if request.config.getoption("loadgroup", default=False):
        ours = [item.nodeid for item in request.session.items if HERE in item.path.parents]
        assert all(nodeid.endswith("@e2e") for nodeid in ours), "not grouped: each pytest worker would start an Airflow"
    airflow = Airflow(tmp_path_factory.mktemp("airflow"), dags_folder, aws, SETTINGS)
    try:
        airflow.launch()
        airflow.wait_until_healthy()
        airflow.wait_for_dags(DAGS)
        for dag in DAGS:
            airflow.unpause(dag)
        yield airflow
    finally:
        airflow.stop()


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the group in its own hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run all end-to-end tests in one worker of pytest-xdist, because they share one Airflow."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(900))  # more than the timeout of any wait in a test
            item.add_marker(pytest.mark.xdist_group("e2e"))
