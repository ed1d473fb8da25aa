"""Real Spark on the local EMR, with data in the local S3."""

from __future__ import annotations

import gzip
import io
import time
import zipfile

import pytest

pytestmark = pytest.mark.spark
pytest.importorskip("pyspark")

REPORT = b"""
import sys
from pyspark.sql import SparkSession

spark = SparkSession.builder.appName("report").getOrCreate()
orders = spark.read.csv(sys.argv[1], header=True, inferSchema=True)
orders.groupBy("kind").sum("n").write.mode("overwrite").partitionBy("kind").parquet(sys.argv[2])
print("rows", spark.read.parquet(sys.argv[2]).count())
print("lines", spark.sparkContext.textFile(sys.argv[3]).count())
"""
BROKEN = b"""
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()


def price(row):
    return 1 / row


print(spark.sparkContext.parallelize([1, 0]).map(price).collect())
"""


@pytest.fixture
def s3(local_aws):
    """An S3 client. The bucket `data` contains two CSV files and the programs."""
    client = local_aws.client("s3")
    client.create_bucket(Bucket="data")
    client.put_object(Bucket="data", Key="in/a.csv", Body=b"kind,n\na,1\nb,2\n")
    client.put_object(Bucket="data", Key="in/b.csv", Body=b"kind,n\na,5\nc,2\n")
    client.put_object(Bucket="data", Key="code/report.py", Body=REPORT)
    client.put_object(Bucket="data", Key="code/broken.py", Body=BROKEN)
    return client


def run(local_aws, *steps):
    """Run steps on a cluster. Returns its id and the steps, oldest first."""
    emr = local_aws.client("emr")
    cluster = emr.run_job_flow(
        Name="spark", ReleaseLabel="emr-7.5.0", Applications=[{"Name": "Spark"}], LogUri="s3://data/logs/",
        ServiceRole="r", JobFlowRole="p", Instances={"MasterInstanceType": "m5.xlarge", "InstanceCount": 2},
        Steps=[{"Name": "step", "ActionOnFailure": "CONTINUE", "HadoopJarStep": jar} for jar in steps],
    )["JobFlowId"]  # fmt: skip
    deadline = time.monotonic() + 200
    while emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["State"] != "TERMINATED":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return cluster, emr.list_steps(ClusterId=cluster)["Steps"][::-1]


def command(*arguments):
    return {"Jar": "command-runner.jar", "Args": list(arguments)}


def keys(s3, prefix):
    return [each["Key"] for each in s3.list_objects_v2(Bucket="data", Prefix=prefix).get("Contents", [])]


def log(s3, key):
    return gzip.decompress(s3.get_object(Bucket="data", Key=key)["Body"].read()).decode()


def test_a_pyspark_step_reads_csv_and_writes_parquet(local_aws, s3):
    """It reads s3://, writes partitions to s3a://, commits by renaming and leaves no temporary files. HDFS works."""
    load = command("s3-dist-cp", "--src=s3://data/in", "--dest=hdfs:///in")
    submit = ("spark-submit", "--master", "yarn", "--conf", "spark.executor.memory=1g", "s3://data/code/report.py")
    cluster, steps = run(local_aws, load, command(*submit, "s3://data/in/", "s3a://data/out", "hdfs:///in"))
    stdout = log(s3, f"logs/{cluster}/steps/{steps[1]['Id']}/stdout.gz")
    assert [step["Status"]["State"] for step in steps] == ["COMPLETED", "COMPLETED"], stdout
    assert stdout.splitlines() == ["rows 3", "lines 6"]
    folders = {key.rpartition("/")[0] for key in keys(s3, "out/") if key.endswith(".parquet")}
    assert folders == {"out/kind=a", "out/kind=b", "out/kind=c"}
    assert "out/_SUCCESS" in keys(s3, "out/")
    assert [key for key in keys(s3, "out/") if "_temporary" in key] == []


def test_a_failure_in_user_code_is_in_the_container_logs(local_aws, s3):
    """In cluster mode, the step log only contains YARN's report."""
    cluster, [step] = run(local_aws, command("spark-submit", "--deploy-mode", "cluster", "s3://data/code/broken.py"))
    assert step["Status"]["State"] == "FAILED"
    assert "finished with failed status" in step["Status"]["FailureDetails"]["Message"]
    assert "ZeroDivisionError" not in log(s3, f"logs/{cluster}/steps/{step['Id']}/stderr.gz")
    containers = keys(s3, f"logs/{cluster}/containers/application_")
    assert [key.rpartition("/")[2] for key in containers] == ["stderr.gz", "stdout.gz"]
    assert "ZeroDivisionError: division by zero" in "".join(log(s3, key) for key in containers)


def test_jars_run_as_steps(local_aws, s3):
    """With spark-submit, and as a custom jar with a main class, both from S3."""
    jar = io.BytesIO()
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n")
    s3.put_object(Bucket="data", Key="code/app.jar", Body=jar.getvalue())
    sql = "org.apache.spark.sql.hive.thriftserver.SparkSQLCLIDriver"
    query = "select count(*) from csv.`s3://data/in/`"
    cluster, steps = run(
        local_aws,
        {"Jar": "s3://data/code/app.jar", "MainClass": "org.apache.hadoop.fs.FsShell", "Args": ["-ls", "s3://data/in"]},
        command("spark-submit", "--class", sql, "s3://data/code/app.jar", "-e", query),
    )
    listed, counted = (log(s3, f"logs/{cluster}/steps/{step['Id']}/stdout.gz") for step in steps)
    assert [step["Status"]["State"] for step in steps] == ["COMPLETED", "COMPLETED"]
    assert [line.split()[-1] for line in listed.splitlines()[1:]] == ["s3://data/in/a.csv", "s3://data/in/b.csv"]
    assert "6" in counted.split()
