"""S3MarkerSensor: waits until a job of another pipeline has succeeded for the same date, even in another Airflow."""

from airflow.sdk import DAG

from airflow_batchemr import BatchArrayOperator, S3MarkerSensor

with DAG("example_marker_sensor", schedule=None):
    wait = S3MarkerSensor(task_id="wait", pipeline="example_batch_array", job="sort", timeout=3600)
    merge = BatchArrayOperator(
        task_id="merge",
        queue="data",
        image="etl:1.4",
        command=["sh", "-c", 'aws s3 cp --recursive "$1" parts && cat parts/*', "merge", "s3://data/sorted/{{ ds }}"],
    )
    wait >> merge

# The XCom of `wait`:
#
#     s3://data/_batchemr/example_batch_array/2026-11-20T000000Z/sort/success.json
