"""Dynamic task mapping: one Batch job per customer. Each map index is a separate job in the ledger.

In `partial`, `queue` is Airflow's argument for its workers, so pass the Batch queue as `job_queue`.
"""

from airflow.sdk import DAG, task

from airflow_batchemr import BatchArrayOperator

with DAG("example_mapped_tasks", schedule=None):

    @task
    def customers() -> list[dict[str, str]]:
        return [{"CUSTOMER": name} for name in ("ann", "bob")]

    BatchArrayOperator.partial(
        task_id="bill", job_queue="data", image="etl:1.4", command=["sh", "-c", "echo bill of $CUSTOMER"]
    ).expand(env=customers())

# Two tasks, bill[0] and bill[1]; the XCom of the first:
#
#     {"run_key": "2026-11-20T000000Z", "job": "bill.0", "size": 1, "submissions": 1,
#      "ledger": "s3://data/_batchemr/example_mapped_tasks/2026-11-20T000000Z/bill.0/"}
