"""The local AWS keeps keys, secrets and output from other users of the machine and from web pages."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys

import pytest

from airflow_batchemr.local import LocalAWS
from airflow_batchemr.local.gate import _addressed
from airflow_batchemr.local.private_files import private_folder, write_private
from tests.integration.test_local_server import ask, bearer, client_of, define, submit, wait_for

PROGRAM = "from airflow_batchemr.cli.local import local; import typer; typer.run(local)"


def exposed(root):
    """The files and folders that other users could read, if they could enter the folder."""
    found = [path for path in (root, *root.rglob("*")) if not path.is_symlink() and path.stat().st_mode & 0o077]
    return [str(path.relative_to(root)) for path in found]


def in_process(tmp_path, *options, **popen):
    """`batchemr local` with a ready file."""
    command = [sys.executable, "-c", PROGRAM, "--ready-file", str(tmp_path / "ready.json"), *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **popen)


def test_nothing_below_an_open_root_is_readable_by_others(tmp_path):
    """With umask 000 and a root of mode 0755: configuration with the access key, scripts, logs, working folders."""
    root = tmp_path / "root"
    root.mkdir(mode=0o755)
    root.chmod(0o755)
    process = in_process(tmp_path, "--root", str(root), "--slots", "3", umask=0)
    try:
        wait_for((tmp_path / "ready.json").exists)
        ready = json.loads((tmp_path / "ready.json").read_text())
        assert exposed(tmp_path / "ready.json") == []
        s3, batch, emr, logs = (client_of(ready, name) for name in ("s3", "batch", "emr", "logs"))
        s3.create_bucket(Bucket="data")
        s3.put_object(Bucket="data", Key="setup.sh", Body=b"touch $HOME/set-up")
        s3.put_object(Bucket="data", Key="words.txt", Body=b"a\n")
        define(batch, "sh", "-c", "umask; echo secret > mine; sleep 61")
        job = submit(batch)
        streaming = ["hadoop-streaming", "-mapper", "cat", "-reducer", "cat", "-files", "s3://data/setup.sh"]
        steps = [
            [*streaming, "-input", "s3://data/words.txt", "-output", "s3://data/out"],
            ["sh", "-c", "umask >&2; cat $HADOOP_CONF_DIR/core-site.xml >&2"],
            ["sleep", "61"],
        ]
        cluster = emr.run_job_flow(
            Name="c",
            ReleaseLabel="emr-7.5.0",
            ServiceRole="EMR_DefaultRole",
            JobFlowRole="EMR_EC2_DefaultRole",
            Instances={"InstanceCount": 1, "MasterInstanceType": "m5.xlarge", "KeepJobFlowAliveWhenNoSteps": False},
            BootstrapActions=[{"Name": "b", "ScriptBootstrapAction": {"Path": "s3://data/setup.sh"}}],
            Steps=[{"Name": "s", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": step}} for step in steps],
        )["JobFlowId"]
        states = lambda: [one["Status"]["State"] for one in emr.list_steps(ClusterId=cluster)["Steps"]]  # noqa: E731
        wait_for(lambda: sorted(states()) == ["COMPLETED", "COMPLETED", "RUNNING"])
        wait_for(lambda: batch.describe_jobs(jobs=[job])["jobs"][0]["status"] == "RUNNING")
        (stderr,) = [path for path in root.glob("emr/*/steps/*/stderr") if "webhdfs" in path.read_text()]
        assert ready["environment"]["AWS_ACCESS_KEY_ID"] in stderr.read_text()  # core-site.xml has the key
        assert list(root.glob("emr/*/conf/core-site.xml"))
        # Programs keep the umask of the user, so what they create is as open as they want, in a closed folder
        assert stderr.read_text().startswith("0000\n")
        events = lambda: logs.filter_log_events(logGroupName="/aws/batch/job")["events"]  # noqa: E731
        assert wait_for(lambda: [event["message"] for event in events()]) == ["0000"]
        own = {"jobs": "mine", "emr": "set-up"}
        assert [path for path in exposed(root) if path.split("/")[-1] not in own.values()] == []
        assert list(root.glob("jobs/*/mine"))
        assert list(root.glob("emr/*/home/set-up"))
    finally:
        process.terminate()
        assert process.communicate(timeout=60)[1] == ""


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_private_files_do_not_depend_on_the_umask(tmp_path, umask):
    """Also where the umask would remove the rights of their owner, and for files that exist."""
    (tmp_path / "old").write_text("x")
    (tmp_path / "old").chmod(0o644)
    before = os.umask(umask)
    try:
        private_folder(tmp_path / "a" / "b")
        write_private(tmp_path / "new", "key")
        write_private(tmp_path / "old", b"key")
    finally:
        os.umask(before)
    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in ("a", "a/b", "new", "old")}
    assert modes == {"a": 0o700, "a/b": 0o700, "new": 0o600, "old": 0o600}


def test_a_folder_that_others_can_write_to_is_refused_as_root(tmp_path):
    """Such as /tmp: someone else may have created the folders below it."""
    tmp_path.chmod(0o1777)
    with pytest.raises(PermissionError, match="is shared with other users: choose one of your own"):
        LocalAWS(root=tmp_path).start()
    assert tmp_path.stat().st_mode & 0o7777 == 0o1777


def test_a_symbolic_link_below_the_root_is_refused(tmp_path):
    """Its target is not used."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "emr").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError, match="emr is not a folder of this user"):
        LocalAWS(root=tmp_path / "root").start()
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("planted", ["file", "link", "dangling link"])
def test_an_existing_ready_file_is_an_error(tmp_path, planted):
    """It is neither written nor removed: another user may have planted it."""
    victim, ready = tmp_path / "victim", tmp_path / "ready.json"
    if planted != "dangling link":
        victim.write_text("mine")
    if planted == "file":
        ready.write_text("theirs")
    else:
        ready.symlink_to(victim)
    process = in_process(tmp_path)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"the ready file {ready} exists: remove it, or choose another one" in errors
    assert ready.read_text() == "theirs" if planted == "file" else ready.is_symlink()
    assert not victim.exists() if planted == "dangling link" else victim.read_text() == "mine"


def test_a_ready_file_that_appears_later_is_not_replaced(local_aws, tmp_path):
    """The check and the creation are one step."""
    (tmp_path / "ready.json").symlink_to(tmp_path / "victim")
    with pytest.raises(FileExistsError, match="remove it, or choose another one"):
        local_aws.write_ready_file(tmp_path / "ready.json")
    assert [path.name for path in tmp_path.iterdir()] == ["ready.json"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1:1", "127.0.0.1", ""])
def test_requests_to_another_host_name_are_rejected_even_with_the_key(local_aws, host):
    """A web page can point its own host name at 127.0.0.1 (DNS rebinding)."""
    port = local_aws.endpoint_url.rpartition(":")[2]
    headers = {**bearer(local_aws), "Host": host.format(port=port)}
    assert ask(local_aws, "/_local/requests", **headers)[0] == 403
    assert ask(local_aws, "/webhdfs/v1/?op=GETHOMEDIRECTORY", **headers)[0] == 403


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "data.localhost:{port}"])
def test_this_machine_is_accepted_as_host(local_aws, host):
    """With the bucket in front, as S3 clients write it."""
    port = local_aws.endpoint_url.rpartition(":")[2]
    assert ask(local_aws, "/_local/requests", **bearer(local_aws), Host=host.format(port=port))[0] == 200


@pytest.mark.parametrize(
    ("host", "port", "accepted"),
    [
        ("localhost", "80", True),
        ("LocalHost:80", "80", True),
        ("localhost", "8080", False),
        ("localhost:8080.evil.example", "8080", False),
        ("localhost:80:8080", "8080", False),
        ("evil.example", "80", False),
    ],
)
def test_clients_leave_out_the_default_port(host, port, accepted):
    """With `--port 80`."""
    assert _addressed({"HTTP_HOST": host, "SERVER_PORT": port}) is accepted


def test_a_request_without_a_host_is_rejected(local_aws):
    """As HTTP/1.0 allows."""
    connection = http.client.HTTPConnection(local_aws.endpoint_url.removeprefix("http://"), timeout=10)
    connection.putrequest("GET", "/_local/requests", skip_host=True)
    connection.putheader(*next(iter(bearer(local_aws).items())))
    connection.endheaders()
    assert connection.getresponse().status == 403
    connection.close()
