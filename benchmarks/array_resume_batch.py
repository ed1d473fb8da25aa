"""Run an array of 10,000 indices, 37 of which fail, and a retry. Count what runs again and the AWS calls.

Uses a real operator and trigger in Airflow's `dag.test`, and the local AWS, which really runs the commands.

    python benchmarks/array_resume_batch.py [--size 10000] [--fail 37]

Target: exactly the failed indices run again; at most 2 SubmitJob calls and 40 other calls, not counting polls.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def count_polls() -> list[int]:
    """Count the DescribeJobs calls of the poll loop from now on."""
    from airflow_batchemr.aws.poller import Poller
    from airflow_batchemr.triggers import batch

    counted: list[int] = []

    class Counted(Poller):
        def __init__(self, describe: Callable[[Sequence[str]], Any], **arguments: Any) -> None:
            super().__init__(lambda ids: counted.append(1) or describe(ids), **arguments)

    batch.Poller = Counted
    return counted


def run(folder: Path, size: int, bad: range) -> str:
    """Run the Dag in this process and return the final state of its task."""
    import pendulum
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.sdk import DAG
    from airflow.utils.db import initdb

    from airflow_batchemr.operators.batch import BatchArrayOperator

    initdb()
    DagBundlesManager().sync_bundles_to_db()
    listed = "|".join(map(str, bad))
    script = (
        f'i=$AWS_BATCH_JOB_ARRAY_INDEX; echo "$i" >> {folder}/ran.txt; '
        f"case $i in {listed}) [ -e {folder}/failed.$i ] || {{ : > {folder}/failed.$i; exit 1; }};; esac"
    )
    with DAG("resume", schedule=None) as dag:
        BatchArrayOperator(
            task_id="work",
            queue="default",
            image="busybox",
            command=["sh", "-c", script],
            array=size,
            retries=1,
            retry_delay=0,
        )
    dag.fileloc, dag.relative_fileloc = __file__, "resume.py"
    bag = DagBag(collect_dags=False)
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)
    finished = dag.test(logical_date=pendulum.datetime(2026, 11, 20))
    return str(finished.get_task_instance("work").state)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=10_000)
    parser.add_argument("--fail", type=int, default=37)
    options = parser.parse_args()
    bad = range(3, options.size, options.size // options.fail)[: options.fail]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "dags").mkdir()
        os.environ |= {
            "AIRFLOW_HOME": str(folder),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
            "AIRFLOW__BATCHEMR__STATE": "s3://state/ledger",
        }
        from airflow_batchemr.local import LocalAWS

        logging.getLogger("airflow_batchemr.local").setLevel(logging.WARNING)
        with LocalAWS(root=folder / "aws", slots=4) as aws:
            os.environ |= aws.environment()
            aws.client("s3").create_bucket(Bucket="state")
            polls = count_polls()
            aws.reset_requests()
            begin = time.perf_counter()
            state = run(folder, options.size, bad)
            seconds = time.perf_counter() - begin
            requests = aws.requests()
        ran = Counter(int(line) for line in (folder / "ran.txt").read_text().split())
    again = Counter({index: times - 1 for index, times in ran.items() if times > 1})
    submits = requests.pop("SubmitJob", 0)
    print(f"python {platform.python_version()}, {os.cpu_count()} cores; array of {options.size}, {options.fail} fail")
    print(f"task: {state}, in {seconds:.0f} s (including the creation of Airflow's database)")
    print(f"indices that ran: {len(ran)}; ran again: {sum(again.values())}, as expected: {again == Counter(bad)}")
    print(f"SubmitJob: {submits}; other calls: {sum(requests.values()) - len(polls)}; polls: {len(polls)}")
    print(", ".join(f"{operation} {count}" for operation, count in requests.most_common()))


if __name__ == "__main__":
    main()
