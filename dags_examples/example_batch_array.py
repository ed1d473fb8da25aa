"""BatchArrayOperator: an array job on AWS Batch. Each index sorts the file with its number.

If an index fails, clear the task: only that index runs again.
"""

from airflow.sdk import DAG

from airflow_batchemr import BatchArrayOperator

with DAG("example_batch_array", schedule=None, params={"prefix": "s3://data/sorted"}):
    BatchArrayOperator(
        task_id="sort",
        queue="data",  # the Batch job queue; worker_queue= is Airflow's queue
        image="etl:1.4",  # with `sh` and `aws`
        array=4,  # the program reads its index from AWS_BATCH_JOB_ARRAY_INDEX
        # No shell runs unless the command is one. A rendered template is always one argument: the script's $1.
        command=[
            *(
                "sh",
                "-c",
                'i=$AWS_BATCH_JOB_ARRAY_INDEX; aws s3 cp "s3://data/shards/$i.csv" - | sort | aws s3 cp - "$1/$i.csv"',
            ),
            *("sort", "{{ params.prefix }}/{{ ds }}"),
        ],
        vcpus=1,
        memory=["512MiB", "1GiB"],  # an index that runs out of memory runs again with the next size
        timeout="30m",
        runnable_timeout="1h",
    )

# The task's XCom:
#
#     {"run_key": "2026-11-20T000000Z", "job": "sort", "size": 4, "submissions": 1,
#      "ledger": "s3://data/_batchemr/example_batch_array/2026-11-20T000000Z/sort/"}
