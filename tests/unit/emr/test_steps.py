"""Steps of a pipeline file become EMR steps with numbers, names and digests."""

from __future__ import annotations

import hashlib
import importlib
import os
import pkgutil
import platform
import re
import subprocess
import tarfile

import pytest
from pydantic import ValidationError

from airflow_batchemr.aws.emr.job_steps import numbers, plan_steps, remaining
from airflow_batchemr.aws.emr.python_env import docker_configurations, environments
from airflow_batchemr.aws.emr.step_work import StepWork
from airflow_batchemr.pipeline_file import steps
from airflow_batchemr.pipeline_file.models import Spark, Step
from airflow_batchemr.pipeline_file.needs import Needs
from airflow_batchemr.pipeline_file.steps.base import StepKind
from airflow_batchemr.pipeline_file.steps.spark import PythonEnv, spark_submit


def plan(*steps, **arguments):
    return plan_steps([Step.model_validate(step) for step in steps], **arguments)


def arguments(step):
    return step.body["HadoopJarStep"]["Args"]


def test_a_spark_block_becomes_one_spark_submit():
    """Like that of Sundial, with additional options."""
    spark = Spark.model_validate(
        {
            "class": "shop.Orders",
            "jar": "s3://code/shop.jar",
            "args": ["2026-11-20", "a b"],
            "conf": {"spark.executor.extraJavaOptions": "-Dx=1"},
            "packages": ["org.apache.avro:avro:1.11.0", "a:b:1"],
            "jars": ["s3://code/a.jar", "s3://code/b.jar"],
            "driver_memory": "4GiB",
            "executor_cores": 2,
            "num_executors": 8,
        }
    )
    assert [
        "spark-submit",
        "--deploy-mode",
        "cluster",
        "--class",
        "shop.Orders",
        "--conf",
        "spark.executorEnv.X",
    ][:6] == spark_submit(spark)[:6]
    made = " ".join(spark_submit(spark))
    assert "--packages org.apache.avro:avro:1.11.0,a:b:1 --jars s3://code/a.jar,s3://code/b.jar" in made
    assert "--driver-memory 4096m --executor-cores 2 --num-executors 8 s3://code/shop.jar 2026-11-20 a b" in made
    assert "a b" == spark_submit(spark)[-1]


def test_driver_and_executors_get_the_same_python_and_environment():
    """In an archive, on the instances, or in a container. The user's conf takes precedence."""
    spark = Spark.model_validate({"py": "s3://code/x.py", "conf": {"spark.executorEnv.A": "mine"}})
    packed = spark_submit(spark, python=PythonEnv.packed("s3://env/e.tar.gz"), environment={"A": "1"})
    assert "s3://env/e.tar.gz#environment" == packed[packed.index("--archives") + 1]
    assert "spark.yarn.appMasterEnv.PYSPARK_PYTHON=./environment/bin/python" in packed
    assert "spark.executorEnv.PYSPARK_PYTHON=./environment/bin/python" in packed
    assert "spark.yarn.appMasterEnv.A=1" in packed
    assert "spark.executorEnv.A=mine" in packed
    image = Spark.model_validate({"py": "s3://code/x.py", "docker_image": "1.dkr.ecr.us-east-1.amazonaws.com/ml:2"})
    for where in ("spark.executorEnv", "spark.yarn.appMasterEnv"):
        assert f"{where}.YARN_CONTAINER_RUNTIME_TYPE=docker" in spark_submit(image)
        assert f"{where}.YARN_CONTAINER_RUNTIME_DOCKER_IMAGE={image.docker_image}" in spark_submit(image)
    trusted = docker_configurations([image.docker_image, "centos"])[0]["Configurations"][0]["Properties"]
    assert {"docker.trusted.registries": "local,1.dkr.ecr.us-east-1.amazonaws.com,library"} == trusted


def test_each_kind_of_step_becomes_what_emr_runs():
    """Commands, copies, Hive, jars, and steps in EMR's format."""
    command, shell, copy, hive, jar, raw = plan(
        {"command": ["aws", "s3", "ls", "a b"]},
        {"command": "echo $HOME | wc -c"},
        {"copy": {"source": "s3://in/", "destination": "hdfs:///in", "args": ["--groupBy=.*"]}},
        {"hive": {"script": "s3://code/q.sql", "args": ["-d", "D=1"]}},
        {"jar": "s3://code/x.jar", "class": "x.Y", "args": ["1"], "properties": {"p": "q"}},
        {"raw": {"Name": "mine", "ActionOnFailure": "CONTINUE", "HadoopJarStep": {"Jar": "x.jar"}}},
    )
    assert ["aws", "s3", "ls", "a b"] == arguments(command)
    assert ["echo", "$HOME", "|", "wc", "-c"] == arguments(shell)
    assert ["s3-dist-cp", "--src=s3://in/", "--dest=hdfs:///in", "--groupBy=.*"] == arguments(copy)
    assert ["hive-script", "--run-hive-script", "--args", "-f", "s3://code/q.sql", "-d", "D=1"] == arguments(hive)
    assert {
        "Jar": "s3://code/x.jar",
        "MainClass": "x.Y",
        "Args": ["1"],
        "Properties": [{"Key": "p", "Value": "q"}],
    } == jar.body["HadoopJarStep"]
    assert ("mine", "continue", {"HadoopJarStep": {"Jar": "x.jar"}}) == (raw.name, raw.on_failure, raw.body)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"command": ["x"]}, ["env", "A=1", "BATCHEMR_SUCCESS_URI=s3://b/1", "x"]),
        ({"spark": {"py": "x.py"}}, ["--conf", "spark.yarn.appMasterEnv.BATCHEMR_SUCCESS_URI=s3://b/1"]),
        ({"spark": {"py": "x.py", "deploy_mode": "client"}}, ["env", "A=1", "BATCHEMR_SUCCESS_URI=s3://b/1"]),
    ],
)
def test_explicit_success_passes_the_uri_of_the_submission(step, words):
    """As environment of command and driver. It differs between submissions, so it does not change the step."""
    explicit, plain = (plan(step, environment={"A": "1"}, explicit_success=on)[0] for on in (True, False))
    made = explicit.config("n", "continue", {"BATCHEMR_SUCCESS_URI": "s3://b/1"})["HadoopJarStep"]["Args"]
    assert any(made[start : start + len(words)] == words for start in range(len(made)))
    assert explicit.digest == plain.digest
    assert (
        plain.config("n", "continue", {"BATCHEMR_SUCCESS_URI": "s3://b/1"})["HadoopJarStep"]
        == plain.body["HadoopJarStep"]
    )


@pytest.mark.parametrize(
    ("on_failure", "first"), [(None, [0, 1]), ("terminate_cluster", [0, 1]), ("continue", [0, 1, 2])]
)
def test_a_step_with_explicit_success_ends_its_submission(on_failure, first):
    """EMR would run the next step before the object is checked, unless that is wanted after any failure."""
    copy = {"copy": {"source": "s3://a/", "destination": "s3://b/"}}
    planned = plan(copy, {"command": ["a"]}, copy, on_failure=on_failure, explicit_success=True)
    assert first == [step.number for step in StepWork(planned=planned).batch(numbers(planned))]


def test_names_are_readable_and_unique():
    """At most 256 characters, with the submission and the step number at the end."""
    (step,) = plan({"name": "x" * 256, "command": ["true"]})
    config = step.config("pipe-work-123-a0001", "terminate_cluster")
    assert 256 == len(config["Name"])
    assert config["Name"].endswith("x [pipe-work-123-a0001-s0000]")
    assert "TERMINATE_CLUSTER" == config["ActionOnFailure"]


def test_remaining_steps_start_at_the_failed_one():
    """A changed step invalidates the later ones if they run one after another."""
    before = plan({"command": ["a"]}, {"command": ["b"]}, {"command": ["c"]}, {"command": ["d"]})
    done = {step.number: step.digest for step in before[:3]}
    assert [3] == [step.number for step in remaining(before, done)]
    after = plan({"command": ["a"]}, {"command": ["B"]}, {"command": ["c"]}, {"command": ["d"]})
    assert [1, 2, 3] == [step.number for step in remaining(after, done)]
    assert [1, 3] == [step.number for step in remaining(after, done, ordered=False)]
    assert [] == remaining(before, {step.number: step.digest for step in before})


def batches(planned, **options):
    """The numbers of the steps that are submitted together, until all are done."""
    work, left, found = StepWork(planned=planned, **options), numbers(planned), []
    while left:
        batch = numbers(work.batch(left))
        found.append(list(batch))
        left -= batch
    return found


def test_step_on_an_existing_cluster_waits_for_the_previous_one():
    """Unless `on_failure` defines what EMR does after a failure."""
    assert [[0], [1]] == batches(plan({"command": ["a"]}, {"command": ["b"]}), one_by_one=True)
    assert [[0, 1]] == batches(plan({"command": ["a"]}, {"command": ["b"]}, on_failure="continue"), one_by_one=True)
    mixed = plan({"command": ["a"], "on_failure": "continue"}, {"command": ["b"]}, {"command": ["c"]})
    assert [[0, 1], [2]] == batches(mixed, one_by_one=True)


LOAD = {"copy": {"source": "s3://in/", "destination": "hdfs:///in"}}
SAVE = {"copy": {"source": "hdfs:///out", "destination": "s3://out/"}}


@pytest.mark.parametrize(
    ("options", "on_failure", "expected"),
    [
        ({"concurrency": 4}, None, [[0], [1, 2], [3]]),
        ({"one_by_one": True}, "continue", [[0], [1, 2], [3]]),
        ({"one_by_one": True, "concurrency": 4}, "continue", [[0], [1, 2], [3]]),
        ({}, None, [[0, 1, 2, 3]]),  # EMR runs them one after another
    ],
    ids=["own", "existing", "existing_concurrent", "one_at_a_time"],
)
def test_copies_before_and_after_are_barriers(options, on_failure, expected):
    """Concurrent steps start when the copies before them have ended; the copies after them start last."""
    planned = plan(LOAD, {"command": ["a"]}, {"command": ["b"]}, SAVE, on_failure=on_failure)
    assert expected == batches(planned, **options)


def test_requirements_become_a_bootstrap_action_that_creates_the_environment(tmp_path):
    """The script really runs. Its name is derived from its content, which is never interpreted by the shell."""
    (tmp_path / "requirements.txt").write_text("# $(touch pwned) `touch pwned`\n")
    made = environments(None, ["requirements.txt"], tmp_path)["requirements.txt"]
    again = environments(None, ["requirements.txt"], tmp_path)["requirements.txt"]
    assert made == again
    script = tmp_path / "boot.sh"
    script.write_bytes(made.script)
    subprocess.run(["bash", str(script), str(tmp_path / "root")], cwd=tmp_path, check=True, capture_output=True)
    folder = made.python.python.removeprefix("/opt/batchemr/")
    assert (tmp_path / "root" / folder).exists()
    assert [] == list(tmp_path.rglob("pwned"))
    (tmp_path / "requirements.txt").write_text("# other\n")
    assert made.name != environments(None, ["requirements.txt"], tmp_path)["requirements.txt"].name


def test_a_conda_environment_is_created_with_micromamba(tmp_path):
    """The script really runs, with a fake download. Checks the URL and the arguments of micromamba."""
    made, fake = _conda_environment(tmp_path)
    script, root = tmp_path / "boot.sh", tmp_path / "root"
    script.write_text(re.sub(r"\b[0-9a-f]{64}\b", fake, made.script.decode()))
    subprocess.run(["bash", "-n", str(script)], check=True)
    for _ in range(2):  # the second run finds the environment and does nothing
        subprocess.run(
            ["bash", str(script), str(root)], check=True, env={"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
        )
    folder = made.python.python.removeprefix("/opt/batchemr/").removesuffix("/bin/python")
    assert (root / folder / "bin/python").exists()
    assert f"create --yes --root-prefix {root}/conda --prefix {root}/{folder} --file {folder}.yml" == (
        (root / "called").read_text().strip()
    )
    assert "dependencies: [python=3.11]\n" == (root / "kept").read_text()
    machine = "linux-aarch64" if platform.machine() == "aarch64" else "linux-64"
    url = f"https://conda.anaconda.org/conda-forge/{machine}/micromamba-2.9.0-0.tar.bz2"
    assert [url] == (root / "fetched").read_text().split()


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_a_download_of_micromamba_with_other_content_is_not_run(tmp_path, machine):
    """It would run as the user of the cluster's machines. Nothing is extracted, and the bootstrap action fails."""
    made, _ = _conda_environment(tmp_path)
    (tmp_path / "bin/uname").write_text(f"#!/bin/sh\necho {machine}\n")
    (tmp_path / "bin/uname").chmod(0o755)
    script, root = tmp_path / "boot.sh", tmp_path / "root"
    script.write_bytes(made.script)
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", str(script), str(root)], check=False, env={"PATH": path}, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "micromamba.tar.bz2: FAILED" in done.stdout
    assert (["fetched"], []) == ([p.name for p in root.glob("fetched")], [*root.glob("called"), *root.glob("bin")])


def _conda_environment(folder):
    """An environment from conda, with a fake micromamba that `curl` downloads; and the checksum of the download."""
    (folder / "environment.yml").write_text("dependencies: [python=3.11]\n")
    micromamba = folder / "micromamba"
    micromamba.write_text(
        '#!/bin/sh\necho "$@" >> called\nmkdir -p "$6/bin"; cp "$0" "$6/bin/python"; cat "$8" > kept\n'
    )
    micromamba.chmod(0o755)
    with tarfile.open(folder / "download", "w:bz2") as archive:
        archive.add(micromamba, "bin/micromamba")
    (folder / "bin").mkdir()
    curl = folder / "bin/curl"
    curl.write_text(
        f'#!/bin/sh\nfor last; do :; done; echo "$last" >> fetched; cp {folder}/download micromamba.tar.bz2\n'
    )
    curl.chmod(0o755)
    made = environments(None, ["environment.yml"], folder)["environment.yml"]
    return made, hashlib.sha256((folder / "download").read_bytes()).hexdigest()


def test_a_packed_environment_needs_cluster_mode():
    """In client mode, it is not unpacked for the driver."""
    options = {"py": "s3://x.py", "python_env": "hdfs:///env.tar.gz", "deploy_mode": "client"}
    with pytest.raises(ValidationError, match="not supported with `deploy_mode: client`"):
        Spark.model_validate(options)


def test_a_driver_in_client_mode_gets_the_environment():
    """The driver is spark-submit itself, for which YARN sets no variables."""
    spark = {"spark": {"py": "s3://code/x.py", "deploy_mode": "client"}}
    args = plan_steps([Step.model_validate(spark)], environment={"A": "b c"})[0].body["HadoopJarStep"]["Args"]
    assert ["env", "A=b c", "spark-submit"] == args[:3]
    assert "spark.executorEnv.A=b c" in args


def test_needs_are_the_requirements_of_steps():
    """Applications, and versions, environments and images of the spark blocks. Empty ones are omitted."""
    spark = {"py": "s3://x.py", "requires": {"spark": "3.5"}, "python_env": "r.txt", "docker_image": "ml:2"}
    copy = {"copy": {"source": "s3://a/", "destination": "hdfs:///a"}}
    needs = Needs.of([Step.model_validate(one) for one in (copy, {"hive": "s3://x.q"}, {"spark": spark})])
    assert {
        "applications": ["Hadoop", "Hive", "Spark"],
        "requires": {"spark": "3.5"},
        "python_env": ["r.txt"],
        "docker_image": ["ml:2"],
    } == needs.values()
    assert needs == Needs(**needs.values())
    assert {} == Needs.of([Step.model_validate({"command": "x"})]).values()


def test_every_kind_in_the_folder_is_registered():
    """The module of a kind that is not in `KINDS` would have no effect."""
    for module in pkgutil.iter_modules(steps.__path__, f"{steps.__name__}."):
        importlib.import_module(module.name)
    assert set(StepKind.__subclasses__()) == set(steps.KINDS)
    assert len(steps.KINDS) == len({kind.__module__ for kind in steps.KINDS})


def test_no_two_kinds_have_the_same_key():
    """A key of one kind would replace that of another in the model of a step."""
    keys = [name for kind in steps.KINDS for name in kind.model_fields]
    assert sorted([*keys, "name", "on_failure"]) == sorted(Step.model_fields)


HOSTILE = [
    "a; id",
    'a" && id && "',
    "$(id) `id` $HOME",
    "{{(id)}} }}}",
    "{{{{",
    "{<ADD_OPENS>{(id)}}",
    "\\$(id)",
    "a\nb\\\nc",
    "<CPS>",
    "O'Brien",
    '{"a": {"b": 1}}',
]


def expanded_by_yarn(text):
    """As Hadoop's ContainerLaunch.expandEnvironment."""
    for name, value in (("<LOG_DIR>", "/log"), ("<CPS>", ":"), ("<ADD_OPENS>", ""), ("{{", "$"), ("}}", "")):
        text = text.replace(name, value)
    return text


@pytest.mark.parametrize("value", HOSTILE)
def test_yarn_does_not_execute_the_environment_of_spark(value):
    """YARN writes `export NAME="value"` into the script with which it starts the driver and the executors."""
    step = {"spark": {"py": "s3://code/x.py", "docker_image": f"i{value}"}}
    (planned,) = plan(step, environment={"MODEL": value})
    conf = dict(one.split("=", 1) for one in arguments(planned) if one.startswith(("spark.yarn", "spark.executorEnv")))
    image = "YARN_CONTAINER_RUNTIME_DOCKER_IMAGE"
    for where in ("spark.yarn.appMasterEnv", "spark.executorEnv"):
        for name, expected in (("MODEL", value), (image, f"i{value}")):
            script = f'export X="{expanded_by_yarn(conf[f"{where}.{name}"])}"\nprintf "%s." "$X"'
            ran = subprocess.run(["bash", "-ec", script], capture_output=True, text=True, check=True)
            assert f"{expected}." == ran.stdout
    plain = plan({"spark": {"py": "s3://code/x.py"}}, environment={"MODEL": "a b;c/d=e"})
    assert "spark.executorEnv.MODEL=a b;c/d=e" in arguments(plain[0])


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("a`id`", "'`'"),
        ("{{(id)}}", "'{{'"),
        ("\\$(id)", "'\\\\$'"),
        ('\\"; id; "', "'\\\\\"'"),
        ('{"a": {"b": 1}}', "'}}'"),
        ("\\<ADD_OPENS>$(id)", "'<ADD_OPENS>'"),
    ],
)
def test_arguments_that_spark_does_not_quote_for_yarn_are_refused(value, what):
    """In cluster mode, they would be executed, or changed. Without a rendered value, nothing is known yet."""
    step = {"spark": {"py": "s3://code/x.py", "args": ["--model", value]}}
    (planned,) = plan(step, rendered=True)
    assert f"spark.args[1]: {what} is not supported with `deploy_mode: cluster`" in planned.refusal
    assert plan(step)[0].refusal is None
    assert plan({"spark": {**step["spark"], "deploy_mode": "client"}}, rendered=True)[0].refusal is None
    (planned,) = plan({"spark": {"py": f"s3://code/{value}.py"}}, rendered=True)
    assert "spark.py:" in planned.refusal


@pytest.mark.parametrize("value", ["a; id", "$(id)", "O'Brien", 'say "x"', "C:\\temp", "{a}", "a\nb", "<name>"])
def test_arguments_that_spark_quotes_for_yarn_are_accepted(value):
    """Most special characters."""
    assert plan({"spark": {"py": "s3://code/x.py", "args": [value]}}, rendered=True)[0].refusal is None
