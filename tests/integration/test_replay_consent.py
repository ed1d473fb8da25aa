"""`batchemr replay` runs what the ledger says only with consent, and with no more credentials than it is given."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest
import typer

from airflow_batchemr.cli.common import confirm
from airflow_batchemr.core.foreign_text import clean
from tests.integration.test_replay import RUN, Array, batchemr

INDEX = ("replay", *RUN, "--index", "3")
INTENT = "/".join(["_batchemr", *RUN, "submissions", "0001", "intent.json"])


@pytest.fixture
def forged(local_aws, tmp_path, monkeypatch):
    """`forged(command, **variables)`: edit the record of an index that has failed, as a writer of the bucket can."""
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", "aws://AKIA:secret@")
    array = Array(tmp_path, 5)
    array.clear()

    def forge(command, **variables):
        intent = json.loads(array.clients.s3.get_object(Bucket="data", Key=INTENT)["Body"].read())
        overrides = intent["requests"][0]["request"]["containerOverrides"]
        overrides["command"] = command
        overrides["environment"] += [{"name": name, "value": value} for name, value in variables.items()]
        array.clients.s3.put_object(Bucket="data", Key=INTENT, Body=json.dumps(intent).encode())
        return array

    return forge


def in_terminal(*arguments, answer):
    """Run the command line in a terminal, and answer its question. Returns exit code and what the terminal got."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "from airflow_batchemr.cli import main; main()", *arguments, "--state",
         "s3://data/_batchemr"],
        stdin=follower, stdout=follower, stderr=follower,
    )  # fmt: skip
    os.close(follower)
    os.write(leader, answer.encode())
    shown = b""
    while True:
        try:
            part = os.read(leader, 65_536)
        except OSError:  # Linux, when the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(leader)
    return process.wait(), shown.decode()


@pytest.mark.parametrize("how", ["--local", "--docker", "--batch"])
def test_a_forged_command_does_not_run_without_consent(forged, tmp_path, how):
    """It is shown. Without a terminal there is nobody to ask, so nothing runs."""
    array = forged(["sh", "-c", f"touch {tmp_path}/proof"])
    done = batchemr(*INDEX, how, ask=True)
    assert done.exit_code == 1
    assert f"program      sh -c 'touch {tmp_path}/proof'" in done.stderr
    assert "stdin is not a terminal on which to ask: check the above, and add --yes" in done.stderr
    assert not (tmp_path / "proof").exists()
    assert array.ledger.read().numbers == [1]
    jobs = array.clients.batch.list_jobs(jobQueue="default", filters=[{"name": "JOB_NAME", "values": ["*"]}])
    assert len(jobs["jobSummaryList"]) == 1


def test_with_a_closed_stdin_there_is_nobody_to_ask(monkeypatch, capsys):
    """Python then has no stdin."""
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(typer.Exit):
        confirm("Run it?", yes=False)
    assert "add --yes" in capsys.readouterr().err


@pytest.mark.parametrize(("answer", "runs"), [("n\n", False), ("\n", False), ("y\n", True)])
def test_a_person_is_asked_and_the_default_is_no(forged, tmp_path, answer, runs):
    """After the credentials have been shown by name, without secrets."""
    forged(["sh", "-c", f"touch {tmp_path}/proof"])
    code, shown = in_terminal(*INDEX, "--local", answer=answer)
    assert (runs, 0 if runs else 1) == ((tmp_path / "proof").exists(), code)
    assert "Run it? [y/N]" in shown
    assert "credentials  yours: arn:aws:" in shown
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in shown


def test_a_record_cannot_forge_what_is_shown(forged):
    """Neither with line breaks nor with control characters. Values of secrets are not shown."""
    forged(["a\n  credentials  none\x1b[2K\x9b1A\u202e"], API_TOKEN="hunter2", LD_PRELOAD="/tmp/x.so")
    shown = batchemr(*INDEX, "--local", "--no-credentials", ask=True).stderr
    assert [line for line in shown.splitlines() if "credentials " in line] == [
        "  credentials  none", "  program      'a\\n  credentials  none\\u202e'",
    ]  # fmt: skip
    assert clean(shown) == shown
    assert "variable     LD_PRELOAD=/tmp/x.so" in shown
    assert "hunter2" not in shown
    assert "--print shows the values of secrets (***)" in shown  # a forged program may run the value of one
    assert "hunter2" in batchemr(*INDEX, "--print").stdout


SHOW = 'env -0 > "$1/env"; ls -A ~ > "$1/home"'


def variables(folder):
    """The variables of the program."""
    return dict(one.split("=", 1) for one in (folder / "env").read_text().split("\0")[:-1])


def test_a_program_without_credentials_sees_none(forged, tmp_path, monkeypatch):
    """No variables of the user or the record with access to AWS, no ~/.aws, and not the role of the machine."""
    (tmp_path / "home" / ".aws").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AWS_PROFILE", "default")
    (tmp_path / "home" / ".aws" / "credentials").write_text("[default]\naws_access_key_id=a\naws_secret_access_key=b\n")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1/secret")
    out = tmp_path / "out"
    out.mkdir()
    forged(["sh", "-c", SHOW, "sh", str(out)], AWS_PROFILE="admin", KEPT="yes")
    assert batchemr(*INDEX, "--local", "--no-credentials").exit_code == 0
    seen = variables(out)
    assert {name: value for name, value in seen.items() if name.startswith(("AWS_", "AIRFLOW_CONN"))} == {
        "AWS_BATCH_JOB_ARRAY_INDEX": "3", "AWS_BATCH_JOB_ARRAY_SIZE": "5", "AWS_BATCH_JOB_ATTEMPT": "1",
        "AWS_BATCH_JOB_ID": "replay", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }  # fmt: skip
    assert ("yes", "") == (seen["KEPT"], (out / "home").read_text())


@pytest.fixture
def role(local_aws):
    """A role that the user may assume."""
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}]}
    created = local_aws.client("iam").create_role(RoleName="replay", AssumeRolePolicyDocument=json.dumps(policy))
    return created["Role"]["Arn"]


def test_a_program_with_a_role_gets_only_its_credentials(forged, role, tmp_path):
    """Temporary ones, and not the profile that the record asks for."""
    forged(["sh", "-c", SHOW, "sh", str(tmp_path)], AWS_PROFILE="admin")
    done = batchemr(*INDEX, "--local", "--role", role)
    seen = variables(tmp_path)
    assert (0, True) == (done.exit_code, seen["AWS_ACCESS_KEY_ID"].startswith("ASIA"))
    assert seen["AWS_SESSION_TOKEN"]
    assert seen["AWS_ENDPOINT_URL"] == os.environ["AWS_ENDPOINT_URL"]
    assert "AWS_PROFILE" not in seen
    own = os.environ["AWS_SECRET_ACCESS_KEY"]
    assert own not in seen.values()
    assert f"credentials  role {role}, for 60 minutes, assumed by yours: arn:aws:" in done.stderr
    assert not [secret for secret in (own, seen["AWS_SECRET_ACCESS_KEY"]) if secret in done.output]


def test_a_program_with_a_role_gets_the_region_of_the_command_line(forged, role, tmp_path, monkeypatch):
    """Boto3 reads one variable, and most other SDKs the other one."""
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    forged(["sh", "-c", SHOW, "sh", str(tmp_path)])
    region = os.environ["AWS_DEFAULT_REGION"]
    assert batchemr(*INDEX, "--local", "--role", role, "--region", region).exit_code == 0
    seen = variables(tmp_path)
    assert (region, region) == (seen["AWS_REGION"], seen["AWS_DEFAULT_REGION"])


@pytest.fixture
def docker(tmp_path_factory):
    """A program `docker` that records its arguments, its variables and the file with variables."""
    folder = tmp_path_factory.mktemp("docker")
    program = folder / "docker"
    program.write_text(f'#!/bin/sh\necho "$@" > {folder}/arguments; env > {folder}/own; cp "$4" {folder}/file\n')
    program.chmod(0o755)
    return folder


def test_a_container_without_credentials_sees_none(forged, docker):
    """Docker itself keeps its variables."""
    forged(["true"], AWS_ACCESS_KEY_ID="AKIAFORGED")
    done = batchemr(*INDEX, "--docker", "--no-credentials", path=docker)
    assert done.exit_code == 0
    given = (docker / "file").read_text()
    assert "AWS_EC2_METADATA_DISABLED=true\n" in given
    assert "ACCESS_KEY" not in given
    assert "image        busybox" in done.stderr


def test_a_container_with_a_role_gets_only_its_credentials(forged, role, docker):
    """Not in the arguments of docker, which every user of the machine can see."""
    forged(["true"])
    assert batchemr(*INDEX, "--docker", "--role", role, path=docker).exit_code == 0
    given = dict(line.split("=", 1) for line in (docker / "file").read_text().splitlines())
    assert given["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    arguments = (docker / "arguments").read_text()
    secrets = given["AWS_SECRET_ACCESS_KEY"], given["AWS_SESSION_TOKEN"], os.environ["AWS_SECRET_ACCESS_KEY"]
    assert not [secret for secret in secrets if secret in arguments]


@pytest.mark.parametrize("name", ["A\nAWS_SECRET_ACCESS_KEY\nB", "#A", " AWS_PROFILE", "A B", "A\x0bB"])
def test_a_recorded_name_cannot_add_variables_to_the_file_of_docker(forged, docker, name):
    """A line with a name alone takes the value from docker's environment: the user's secret."""
    forged(["true"], **{name: "value"})
    done = batchemr(*INDEX, "--docker", "--no-credentials", path=docker)
    assert (1, False) == (done.exit_code, (docker / "arguments").exists())
    assert "docker cannot pass on the variables" in done.stderr


def test_a_recorded_endpoint_gives_no_access_to_the_network_of_this_machine(forged, docker):
    """A container that shares it reaches every server that listens on this machine alone."""
    forged(["true"])
    assert batchemr(*INDEX, "--docker", path=docker).exit_code == 0
    assert "--network host" in (docker / "arguments").read_text()  # to the local AWS, which the user has named
    forged(["true"], AWS_ENDPOINT_URL="http://localhost:2375")
    assert batchemr(*INDEX, "--docker", path=docker).exit_code == 0
    assert "--network" not in (docker / "arguments").read_text()


@pytest.mark.parametrize("name", ["DOCKER_HOST", "LD_PRELOAD", "PATH", "https_proxy", "BASH_FUNC_[%%", "BASH_ENV"])
def test_a_record_cannot_change_the_docker_client(forged, docker, name):
    """Values of several lines are passed in docker's own environment."""
    forged(["true"], **{name: "tcp://203.0.113.1:1\n"})
    done = batchemr(*INDEX, "--docker", path=docker)
    assert (1, False) == (done.exit_code, (docker / "arguments").exists())
    assert f"docker cannot pass on {name}" in done.stderr


def test_an_image_cannot_be_an_option_of_docker(forged, docker):
    """Such as a mount of the whole disk."""
    array = forged(["busybox"])
    array.clients.batch.register_job_definition(
        jobDefinitionName="own", type="container", containerProperties={"image": "--volume=/:/host", "memory": 9,
        "vcpus": 1},
    )  # fmt: skip
    intent = array.clients.s3.get_object(Bucket="data", Key=INTENT)["Body"].read()
    array.clients.s3.put_object(Bucket="data", Key=INTENT, Body=intent.replace(b"own:1", b"own:2"))
    done = batchemr(*INDEX, "--docker", path=docker)
    assert (1, False) == (done.exit_code, (docker / "arguments").exists())
    assert "is an option of docker, not a name" in done.stderr


def test_a_printed_command_is_exact_and_safe(forged, tmp_path):
    """Control characters are written as octal bytes, which every POSIX shell understands."""
    hostile = "\x1b]0;title\x07 \x9b2J \u202e\r\x7f it's 'quoted' $HOME `id` \\ \x0b"
    forged(["sh", "-c", f'printf %s "$1|$ODDER" > {tmp_path}/seen', "sh", hostile], ODDER=hostile)
    printed = batchemr(*INDEX).stdout
    assert clean(printed) == printed
    assert subprocess.run(["sh"], input=printed, text=True, check=False).returncode == 0
    assert (tmp_path / "seen").read_bytes().decode() == f"{hostile}|{hostile}"


def test_a_command_that_cannot_run_is_refused(forged):
    """Instead of a similar one."""
    forged(["echo", "a\0b"])
    for how in ([], ["--local"], ["--docker"]):
        done = batchemr(*INDEX, *how)
        assert (1, "") == (done.exit_code, done.stdout)
        assert "cannot be an argument or variable of a program" in done.stderr


@pytest.mark.parametrize("program", ["-S id", "PATH=."])
def test_a_printed_program_is_not_an_option_or_variable_of_env(forged, program):
    """`env -S id` runs `id`."""
    forged([program, "id"])
    done = batchemr(*INDEX)
    assert (1, "") == (done.exit_code, done.stdout)
    assert "would not run the recorded program" in done.stderr


@pytest.mark.parametrize("how", [[], ["--local"], ["--docker"]])
def test_a_recorded_variable_is_not_an_option_of_env(forged, how):
    """`env '-S id #=x'` runs `id`."""
    forged(["true"], **{"-S id #": "x"})
    done = batchemr(*INDEX, *how)
    assert (1, "") == (done.exit_code, done.stdout)
    assert "leading hyphen" in done.stderr


@pytest.mark.parametrize(
    "options", [["--role", "r"], ["--batch", "--no-credentials"], ["--local", "--role", "r", "--no-credentials"]]
)
def test_options_of_credentials_that_do_not_fit_are_refused(forged, options):
    """A Batch job has the role of its definition."""
    forged(["true"])
    assert batchemr(*INDEX, *options).exit_code == 2


def test_a_batch_job_is_shown_with_its_queue_definition_and_role(forged):
    """Before the question."""
    array = forged(["true"])
    array.clients.batch.register_job_definition(
        jobDefinitionName="own", type="container",
        containerProperties={"image": "busybox", "memory": 9, "vcpus": 1, "jobRoleArn": "arn:aws:iam::1:role/data"},
    )  # fmt: skip
    intent = array.clients.s3.get_object(Bucket="data", Key=INTENT)["Body"].read()
    array.clients.s3.put_object(Bucket="data", Key=INTENT, Body=intent.replace(b"own:1", b"own:2"))
    shown = batchemr(*INDEX, "--batch", ask=True).stderr
    for line in ("queue        default", "job-definition/own:2\n", "job role     arn:aws:iam::1:role/data"):
        assert line in shown


@pytest.mark.parametrize("kind", ["tasks", "pod", "nodes"])
def test_the_commands_of_all_containers_of_a_batch_job_are_shown(forged, kind):
    """The record may set them for more containers than the one with the index."""
    array = forged(["true"])
    hidden = {"name": "b", "command": ["steal", "--all"]}
    overrides = {
        "tasks": {"ecsPropertiesOverride": {"taskProperties": [{"containers": [{"command": ["true"]}, hidden]}]}},
        "pod": {
            "eksPropertiesOverride": {"podProperties": {"containers": [{"name": "a"}], "initContainers": [hidden]}}
        },
        "nodes": {"nodeOverrides": {"nodePropertyOverrides": [{"targetNodes": "0"}, {"containerOverrides": hidden}]}},
    }[kind]
    intent = json.loads(array.clients.s3.get_object(Bucket="data", Key=INTENT)["Body"].read())
    intent["requests"][0]["request"] |= overrides
    array.clients.s3.put_object(Bucket="data", Key=INTENT, Body=json.dumps(intent).encode())
    assert "also runs    steal --all\n" in batchemr(*INDEX, "--batch", ask=True).stderr
