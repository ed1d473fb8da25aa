"""Real operators and triggers in a real Airflow (with its own SQLite database), against the local AWS."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

# Airflow reads its configuration on first import, and pytest imports the test modules after this one.
_HOME = Path(tempfile.mkdtemp(prefix="batchemr-airflow-"))
os.environ |= {
    "AIRFLOW_HOME": str(_HOME),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__CORE__DAGS_FOLDER": str(_HOME / "dags"),
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME}/airflow.db",
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
    "AIRFLOW__SECRETS__USE_CACHE": "False",
    "AIRFLOW__BATCHEMR__SEARCH_PAUSE": "0.05",
}
(_HOME / "dags").mkdir()

START = "2026-11-20"


@pytest.fixture(autouse=True)
def _valid_responses(valid_responses):
    """Also of a local AWS that a test starts itself."""


def pytest_sessionfinish(session, exitstatus):
    """Remove the temporary folder."""
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def airflow_db():
    """Create the metadata database once per session."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.utils.db import initdb

    initdb()
    DagBundlesManager().sync_bundles_to_db()
    return _HOME


@pytest.fixture(scope="session")
def clients():
    """Environment of a program that uses the packages of requirements-clients.lock. `make test` installs them."""
    packages = Path(sys.prefix) / "clients"
    if not packages.is_dir():
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up(f"{packages} is missing: run `make test`")
    root = Path(__file__).parents[2]
    return {"PYTHONPATH": os.pathsep.join([str(packages), str(root)])}


class Finished:
    """A run of a Dag that has ended."""

    def __init__(self, run, output):
        self.state = str(run.state)
        self.run_id = run.run_id
        self.tasks = {
            ti.task_id if ti.map_index < 0 else f"{ti.task_id}.{ti.map_index}": str(ti.state)
            for ti in run.get_task_instances()
        }
        self.output = output
        """Output of Airflow, the operators and the triggers."""


@pytest.fixture
def run_dag(airflow_db, capfd):
    """`run_dag(dag, logical_date=…, conf=…)` runs a Dag in this process and returns the states of run and tasks."""
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    def run(dag, *, logical_date=START, conf=None, again=False):
        import pendulum

        if again:  # Airflow allows one run per date, so the first one is deleted
            forget_runs(dag.dag_id)

        dag.fileloc = dag.fileloc or __file__
        dag.relative_fileloc = dag.relative_fileloc or "t.py"
        bag = DagBag(collect_dags=False)
        bag.bag_dag(dag)
        sync_bag_to_db(bag, "dags-folder", None)
        date = pendulum.parse(logical_date) if isinstance(logical_date, str) else logical_date
        capfd.readouterr()
        finished = dag.test(logical_date=date, run_conf=conf)
        output = "".join(capfd.readouterr())
        print(output)  # noqa: T201 - shown by pytest where the test fails
        return Finished(finished, output)

    return run


def forget_runs(dag_id):
    """Delete all runs of a Dag, as after a rebuilt metadata database."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        for run in session.scalars(select(DagRun).where(DagRun.dag_id == dag_id)):
            session.delete(run)


class _Everything(set):
    def __contains__(self, _):
        return True


@pytest.fixture(autouse=True)
def checked_store(monkeypatch):
    """The check for conditional writes has been made, so that tests which count requests do not depend on it."""
    from airflow_batchemr.ledger import store

    monkeypatch.setattr(store, "_checked", _Everything())


@pytest.fixture
def state(aws, tmp_path):
    """The state URI that Airflow is configured with."""
    return f"s3://state/{tmp_path.name}"


@pytest.fixture
def xcom():
    """`xcom(finished, dag_id, task_id, key)` returns an XCom of a task."""

    def read(finished, dag_id, task_id, key="return_value", map_index=-1):
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session

        with create_session() as session:
            row = session.scalars(
                XComModel.get_many(
                    run_id=finished.run_id, key=key, task_ids=task_id, dag_ids=dag_id, map_indexes=map_index
                )
            ).first()
            return None if row is None else XComModel.deserialize_value(row)

    return read


@pytest.fixture
def aws(local_aws, monkeypatch, tmp_path):
    """The local AWS with a state bucket that Airflow uses. Each test starts without jobs and clusters."""
    monkeypatch.setenv("AIRFLOW__BATCHEMR__STATE", f"s3://state/{tmp_path.name}")
    local_aws.client("s3").create_bucket(Bucket="state")
    local_aws.reset_requests()
    return local_aws


@pytest.fixture
def account(local_aws):
    """The local AWS with a state bucket, for tests without Airflow."""
    local_aws.client("s3").create_bucket(Bucket="state")
    return local_aws


#: Runs the shell script among its arguments.
SUBMIT = '#!/bin/sh\nwhile [ "${1%.sh}" = "$1" ]; do shift; done\nexec sh "$@"\n'


@pytest.fixture(scope="module")
def program_server(tmp_path_factory):
    """A local AWS whose spark-submit runs shell scripts. Tests use `program_aws` instead."""
    from airflow_batchemr.local import LocalAWS

    programs = tmp_path_factory.mktemp("programs")
    (programs / "spark-submit").write_text(SUBMIT)
    (programs / "spark-submit").chmod(0o755)
    with LocalAWS(root=tmp_path_factory.mktemp("aws"), slots=2, path=[programs]) as aws:
        yield aws


@pytest.fixture
def program_aws(program_server, monkeypatch, tmp_path):
    """That local AWS, with a bucket `logs`, for clients. `run.sh <name>` in `tmp_path` creates a file there."""
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", "aws://")
    for name, value in program_server.environment().items():
        monkeypatch.setenv(name, value)
    program_server.client("s3").create_bucket(Bucket="logs")
    (tmp_path / "run.sh").write_text(f"touch {tmp_path}/$1\n")
    yield program_server
    program_server.reset()


@pytest.fixture
def lease_over(monkeypatch):
    """`lease_over()` moves S3's clock ahead until claims of killed workers that AWS does not show are abandoned."""
    from airflow_batchemr.engine.policy import DEFAULT
    from airflow_batchemr.ledger import store

    clock = store._clock

    def jump():
        monkeypatch.setattr(store, "_clock", lambda answer: clock(answer) + timedelta(seconds=DEFAULT.abandon_after))

    return jump


class Work:
    """A folder in which programs record each run."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.log = folder / "ran.txt"

    def command(self, script: str) -> list[str]:
        """A command that records its index and then executes `script` (sh, with the index as `$i`)."""
        note = f'i=$AWS_BATCH_JOB_ARRAY_INDEX; echo "$i" >> {self.log}; cd {self.folder}; '
        return ["sh", "-c", note + script]

    def ran(self) -> Counter:
        """How often each index has run."""
        return Counter(int(line) for line in self.log.read_text().split()) if self.log.exists() else Counter()


@pytest.fixture
def work(tmp_path):
    """The folder in which programs record that they ran."""
    folder = tmp_path / "work"
    folder.mkdir()
    return Work(folder)
