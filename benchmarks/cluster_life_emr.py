"""Count the AWS calls for a cluster with three steps, from start to end, in Airflow. Polls are counted separately.

    python benchmarks/cluster_life_emr.py

Target: at most 8 calls to EMR, not counting polls.
"""

from __future__ import annotations

import logging
import os
import platform
import tempfile
from collections import Counter
from pathlib import Path


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "AIRFLOW_HOME": folder,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": f"{folder}/dags",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
            "AIRFLOW__BATCHEMR__STATE": "s3://state/life",
        }
        Path(folder, "dags").mkdir()
        run(Path(folder))


def run(folder: Path) -> None:
    import pendulum
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.sdk import DAG
    from airflow.utils.db import initdb

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.local import LocalAWS
    from airflow_batchemr.operators.emr import EphemeralEmrOperator

    logging.disable(logging.WARNING)
    initdb()
    DagBundlesManager().sync_bundles_to_db()
    polls: Counter[str] = Counter()
    polling = Clients.polling
    seen: set[int] = set()

    def counted(self: Clients, service: str) -> object:
        client = polling(self, service)
        if id(client) not in seen:
            seen.add(id(client))
            client.meta.events.register("before-call", lambda model, **_: polls.update([model.name]))
        return client

    Clients.polling = counted  # type: ignore[method-assign]
    with DAG("life", schedule=None) as dag:
        steps = [["true"], ["true"], ["true"]]
        EphemeralEmrOperator(task_id="work", cluster={"type": "m5.xlarge", "instances": 3}, steps=steps)
    dag.fileloc, dag.relative_fileloc = __file__, "life.py"
    bag = DagBag(collect_dags=False)
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)
    print(f"python {platform.python_version()}")
    with LocalAWS(root=folder / "aws") as aws:
        os.environ |= aws.environment()
        aws.client("s3").create_bucket(Bucket="state")
        for what in ("a cluster with three steps", "again, with a marker"):
            aws.reset_requests()
            polls.clear()
            state = dag.test(logical_date=pendulum.parse("2026-11-20")).state
            requests = Counter(aws.requests())
            requests.subtract(polls)
            objects = {"GetObject", "PutObject", "ListObjectsV2", "HeadObject", "DeleteObject"}
            emr = {name: count for name, count in requests.items() if count > 0 and name not in objects}
            s3 = {name: count for name, count in requests.items() if count > 0 and name in objects}
            print(f"{what}: {state}")
            print(f"  EMR: {sum(emr.values())} {emr}; polls: {dict(polls)}")
            print(f"  S3 (the ledger): {sum(s3.values())} {s3}")


if __name__ == "__main__":
    main()
