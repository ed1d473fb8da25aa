"""Steps and bootstrap actions that other tools give to EMR: Hadoop streaming, debugging, sudo and pip."""

from __future__ import annotations

import gzip
import os
import sys
import zipfile

import pytest

from tests.integration.test_local_emr import log, run, step, steps, wait

MAPPER = b"""#!/usr/bin/env python3
import os, sys
for line in sys.stdin:
    for word in line.split():
        print(f"LongValueSum:{word}\\t1")
        print("reporter:counter:words,seen,1", file=sys.stderr)
print(os.environ["mapreduce_map_input_file"], os.environ["COLOR"], file=sys.stderr)
"""


@pytest.fixture
def s3(local_aws):
    s3 = local_aws.client("s3")
    s3.create_bucket(Bucket="logs")
    s3.put_object(Bucket="logs", Key="map.py", Body=MAPPER)
    s3.put_object(Bucket="logs", Key="in/a.txt", Body=b"b a b\n")
    s3.put_object(Bucket="logs", Key="in/b.txt.gz", Body=gzip.compress(b"c b"))
    s3.put_object(Bucket="logs", Key="in/_SUCCESS", Body=b"")
    return s3


@pytest.fixture
def emr(local_aws, s3):
    return local_aws.client("emr")


def streaming(*arguments, jar="command-runner.jar", output="s3://logs/out"):
    command = [] if jar.endswith("streaming.jar") else ["hadoop-streaming"]
    return step(*command, *arguments, "-input", "s3://logs/in/", "-output", output, jar=jar)


def words(s3, prefix="out/part-"):
    listed = s3.list_objects_v2(Bucket="logs", Prefix=prefix).get("Contents", [])
    return b"".join(s3.get_object(Bucket="logs", Key=each["Key"])["Body"].read() for each in listed).decode()


def logs_of(local_aws, emr, cluster, kind):
    return log(local_aws, f"{cluster}/steps/{emr.list_steps(ClusterId=cluster)['Steps'][0]['Id']}/{kind}")


@pytest.mark.parametrize("jar", ["command-runner.jar", "/usr/lib/hadoop-mapreduce/hadoop-streaming.jar"])
def test_a_streaming_step_maps_sorts_and_reduces(local_aws, s3, emr, jar):
    """Input and output are in S3. Hadoop's logs have the counters; the tasks' stderr is in the container logs."""
    files = ["-files", "s3://logs/map.py#m.py", "-mapper", "m.py", "-reducer", "aggregate", "-cmdenv", "COLOR=red"]
    cluster = run(emr, streaming(*files, jar=jar))
    wait(emr, cluster)
    assert steps(emr, cluster) == ["COMPLETED"], logs_of(local_aws, emr, cluster, "stderr")
    assert words(s3) == "a\t1\nb\t3\nc\t1\n"
    assert "\twords\n\t\tseen=5\n" in logs_of(local_aws, emr, cluster, "syslog")
    found = s3.list_objects_v2(Bucket="logs", Prefix=f"emr/{cluster}/containers/")["Contents"]
    stderr = [s3.get_object(Bucket="logs", Key=each["Key"])["Body"].read() for each in found if "stderr" in each["Key"]]
    assert b"s3://logs/in/a.txt red\n" in [gzip.decompress(each) for each in stderr]


def test_streaming_runs_the_combiner_and_splits_keys_among_reducers(local_aws, s3, emr):
    """Each key goes to one reducer. Lines without a tab are keys with an empty value."""
    count = "sh -c 'cut -f1 | uniq -c'"
    split = ["-D", "mapreduce.job.reduces=2", "-mapper", "tr ' ' '\\n'", "-combiner", "uniq", "-reducer", count]
    cluster = run(emr, streaming(*split))
    wait(emr, cluster)
    assert steps(emr, cluster) == ["COMPLETED"], logs_of(local_aws, emr, cluster, "stderr")
    # The combiner has dropped the second `b` of the first file
    assert sorted(words(s3).split("\n")) == ["", "      1 a\t", "      1 c\t", "      2 b\t"]
    assert {"out/_SUCCESS", "out/part-00000", "out/part-00001"} == {
        each["Key"] for each in s3.list_objects_v2(Bucket="logs", Prefix="out/")["Contents"]
    }


@pytest.mark.parametrize(
    ("arguments", "output", "message"),
    [
        (["-mapper", "false"], "s3://logs/out", "Job not successful!"),
        (["-mapper", "no-such-program"], "s3://logs/out", "Job not successful!"),
        (["-mapper", "cat"], "s3://logs/in", "Output directory s3://logs/in already exists"),
        (["-mapper", "cat", "-input", "s3://logs/none"], "s3://logs/out", "Input path does not exist: s3://logs/none"),
        (["-mapper", "cat", "-inputformat", "X"], "s3://logs/out", "the local EMR does not support -inputformat"),
        (
            ["-mapper", "cat", "-D", "mapreduce.job.partitioner.class=X"],
            "s3://logs/out",
            "does not support mapreduce.job",
        ),
    ],
)
def test_a_streaming_step_fails_as_on_hadoop(local_aws, s3, emr, arguments, output, message):
    """Without output. stderr has Hadoop's message."""
    cluster = run(emr, streaming(*arguments, output=output))
    wait(emr, cluster)
    assert steps(emr, cluster) == ["FAILED"]
    stderr = logs_of(local_aws, emr, cluster, "stderr")
    assert message in stderr
    assert "Streaming Command Failed!" in stderr
    assert words(s3) == ""


def test_a_failed_task_is_repeated(local_aws, s3, emr, tmp_path):
    """Up to four times, as on Hadoop; its failed attempts are in the log."""
    flaky = f"sh -c 'mkdir {tmp_path}/seen 2>/dev/null && exit 3; cat'"
    cluster = run(emr, streaming("-mapper", flaky, "-reducer", "NONE"))
    wait(emr, cluster)
    assert steps(emr, cluster) == ["COMPLETED"]
    assert words(s3) == "b a b\t\nc b\t\n"
    assert logs_of(local_aws, emr, cluster, "syslog").count("Status : FAILED") == 1


def test_streaming_reads_and_writes_hdfs(local_aws, s3, emr):
    """Steps of a cluster share it."""
    first = streaming("-mapper", "cat", output="hdfs:///tmp/sorted")
    second = step("hadoop-streaming", "-mapper", "cat", "-input", "/tmp/sorted/part-*", "-output", "s3://logs/out")
    cluster = run(emr, first, second)
    wait(emr, cluster)
    assert steps(emr, cluster) == ["COMPLETED", "COMPLETED"]
    assert words(s3) == "b a b\t\nc b\t\n"


@pytest.mark.parametrize(
    "debugging",
    [
        step("state-pusher-script"),
        step(
            "s3://us-east-1.elasticmapreduce/libs/state-pusher/0.1/fetch",
            jar="s3://us-east-1.elasticmapreduce/libs/script-runner/script-runner.jar",
        ),
    ],
    ids=["command-runner", "script-runner"],
)
def test_debugging_can_be_enabled(local_aws, emr, debugging):
    """By the step that consoles and tools put first."""
    cluster = run(emr, debugging, step("true"))
    wait(emr, cluster)
    assert steps(emr, cluster) == ["COMPLETED", "COMPLETED"]


def test_bootstrap_actions_cannot_change_this_machine(local_aws, s3, emr):
    """Sudo does not give more rights, and the machine is not shut down."""
    script = b"sudo -u hadoop -E NAME=x sh -c 'test $NAME = x && id -u'\nsudo shutdown -h now || echo still here\n"
    s3.put_object(Bucket="logs", Key="boot.sh", Body=script)
    action = {"Name": "boot", "ScriptBootstrapAction": {"Path": "s3://logs/boot.sh"}}
    cluster = run(emr, step("true"), BootstrapActions=[action])
    wait(emr, cluster)
    instance = emr.list_instances(ClusterId=cluster)["Instances"][0]["Ec2InstanceId"]
    stdout = log(local_aws, f"{cluster}/node/{instance}/bootstrap-actions/1/stdout")
    assert stdout == f"{os.getuid()}\nstill here\n"


def test_packages_are_installed_into_the_cluster(local_aws, s3, emr, tmp_path):
    """Not into the environment of the local AWS. Its packages are available too."""
    wheel = tmp_path / "extra-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("extra.py", "")
        archive.writestr("extra-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: extra\nVersion: 1\n")
        archive.writestr("extra-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("extra-1.dist-info/RECORD", "extra.py,,\n")
    install = f"sudo pip3 install --no-index {wheel}\n"
    s3.put_object(Bucket="logs", Key="boot.sh", Body=install.encode())
    action = {"Name": "boot", "ScriptBootstrapAction": {"Path": "s3://logs/boot.sh"}}
    show = step("python3", "-c", "import boto3, extra, sys; print(extra.__file__, sys.prefix)")
    first = run(emr, show, BootstrapActions=[action])
    end = wait(emr, first)
    assert steps(emr, first) == ["COMPLETED"], end
    path, prefix = logs_of(local_aws, emr, first, "stdout").split()
    assert path.startswith(prefix)
    assert prefix != sys.prefix
    other = run(emr, show)
    wait(emr, other)
    assert steps(emr, other) == ["FAILED"]
