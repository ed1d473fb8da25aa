"""Import of Sundial process definitions: fields, behavior and notes."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from pathlib import Path

import jinja2
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_batchemr.aws.emr.job_steps import plan_steps
from airflow_batchemr.dags.plan import plan_dag
from airflow_batchemr.pipeline_file import load_file
from airflow_batchemr.pipeline_file.importers.document import read_json
from airflow_batchemr.pipeline_file.importers.sundial import translate
from airflow_batchemr.pipeline_file.models import Step

DATA = Path(__file__).parents[2] / "data" / "sundial"
#: Like Airflow's environment, it removes a trailing line break.
JINJA = jinja2.Environment()  # noqa: S701 - does not render HTML
EVERY = json.loads((DATA / "every_field.json").read_text())


def task(executable, **fields):
    """A task definition with the required fields."""
    return {
        "task_definition_name": "main",
        "dependencies": [],
        "max_attempts": 1,
        "backoff_base_seconds": 0,
        "executable": executable,
    } | fields


def batch(**fields):
    """A batch_image_command."""
    return {"batch_image_command": {"image": "etl", "tag": "1", "command": ["run"], "memory": 512, "vCpus": 1} | fields}


def process(*tasks, **fields):
    """A process definition."""
    return {"process_definition_name": "p", "task_definitions": list(tasks or [task(batch())])} | fields


def spark(**fields):
    """An emr_command on an existing cluster."""
    return {
        "emr_command": {
            "emr_cluster": {"existing_emr_cluster": {"cluster_id": "j-123ABC456DEF9"}},
            "job_name": "main",
            "class": "a.Main",
            "s3_jar_path": "s3://code/a.jar",
            "spark_conf": [],
            "args": [],
        }
        | fields
    }


def group(**fields):
    """An instance group."""
    return {"emr_instance_type": "m4.large", "instance_count": 1, "aws_market": {"on_demand": "on_demand"}} | fields


def cluster(**fields):
    """An emr_command on a new cluster."""
    new = {
        "name": "c",
        "release_label": "emr-5.20.0",
        "applications": ["Spark"],
        "s3_log_uri": "s3://logs/",
        "master_instance": group(),
        "emr_service_role": {"default_emr_service_role": "EMR_DefaultRole"},
        "emr_job_flow_role": {"default_emr_job_flow_role": "EMR_EC2_DefaultRole"},
    }
    return spark(emr_cluster={"new_emr_cluster": new | fields})


def pipeline(*args, **fields):
    """The pipeline of a translation without problems."""
    translation = translate(process(*args, **fields))
    assert not translation.problems
    return translation.file["p"]


def job(executable, **fields):
    """The job of a process with one task."""
    return pipeline(task(executable, **fields))["jobs"]["main"]


def notes(data):
    """Path (as text) and message of each note."""
    return [(".".join(map(str, note.path)), note.message) for note in translate(data).notes]


def load(tmp_path, data):
    """Write the translated pipeline file and load it."""
    path = tmp_path / "imported.yaml"
    document = read_json("x.json", json.dumps(data), translate)
    path.write_text(document.yaml("header"))
    return load_file(path)


@pytest.mark.parametrize("name", ["every_field.json", "dynamic_cluster.json"])
def test_an_import_loads_and_compiles(name, tmp_path):
    """The pipeline file has no errors and can be compiled to Dags."""
    data = json.loads((DATA / name).read_text())
    spec = load(tmp_path, data)
    expected = [
        item["process_definition_name"].replace(" ", "-") for item in (data if isinstance(data, list) else [data])
    ]
    assert [str(error) for error in spec.errors] == []
    assert expected == [plan_dag(made).dag_id for made in spec.pipelines.values()]


@pytest.mark.parametrize("name", ["every_field.json", "dynamic_cluster.json"])
def test_loading_the_json_gives_the_same_pipelines_as_importing_it(name, tmp_path):
    """The models are equal."""
    data = json.loads((DATA / name).read_text())
    imported, direct = load(tmp_path, data), load_file(DATA / name)
    assert [str(error) for error in direct.errors] == []
    assert imported.pipelines == direct.pipelines


def test_every_field_is_translated():
    """A file that uses all of Sundial's fields."""
    extract, legacy, clean, model, score = translate(EVERY).file["every-field"]["jobs"].values()
    expected_extract = {
        "batch": {
            "image": "registry.example.com/etl:1.4",
            "queue": "priority",
            "command": ["extract.sh", "--name", "a b", "{% raw %}{{ not a template }}{% endraw %}", "$${HOME}"],
            "vcpus": 2,
            "memory": "2GiB",
            "job_role": "arn:aws:iam::123456789012:role/etl",
            "env": {"MODE": "prod", "DIR": "$${TMP}/x"},
            "timeout": "20m",
        },
        "retries": 2,
        "retry_delay": "1m",
        "retry_backoff": 1.5,
        "explicit_success": True,
    }
    expected_legacy = {
        "after": "extract",
        "batch": {
            "image": "registry.example.com/legacy:7",
            "command": ["jobstart.sh"],
            "vcpus": 1,
            "memory": "5000MiB",
            "job_role": "arn:aws:iam::123456789012:role/legacy",
            "env": {"EnvironmentType": "production"},
        },
        "deadline": "30s",
        "retries": 0,
    }
    expected_clean = {
        "after": {"extract": "finished", "legacy-step": "succeeded"},
        "operator": "airflow.providers.standard.operators.bash.BashOperator",
        "with": {
            "bash_command": 'set -e\nrm -rf "$DIR"\necho attempt $SUNDIAL_TASK_PREVIOUS_ATTEMPTS',
            "env": {"DIR": "/tmp/x", "SUNDIAL_TASK_PREVIOUS_ATTEMPTS": "{{ ti.try_number - 1 }}"},
            "append_env": True,
            "skip_on_exit_code": [],
            "execution_timeout": 300,
        },
        "retries": 1,
        "retry_delay": "5s",
    }
    expected_model = {
        "after": "clean",
        "region": "eu-west-1",
        "emr": {
            "release": "emr-5.20.0",
            "applications": ["Spark", "Hadoop"],
            "log_uri": "s3://logs/emr",
            "master": {"type": "m4.large", "count": 1},
            "core": {
                "type": "m4.xlarge",
                "count": 4,
                "market": "spot",
                "bid": "0.07",
                "ebs": {"size": 100, "type": "gp2"},
            },
            "task": {"type": "m4.xlarge", "count": 3, "market": "spot", "bid": "0.1"},
            "subnets": "subnet-a123456b",
            "service_role": "my-emr",
            "instance_role": "my-emr-ec2",
            "visible": False,
            "configurations": [
                {"Classification": "spark-defaults", "Properties": {"spark.executor.memory": "4g"}},
                {
                    "Classification": "hadoop-env",
                    "Properties": {},
                    "Configurations": [
                        {"Classification": "export", "Properties": {"JAVA_HOME": "/usr/lib/jvm/java-1.8.0"}}
                    ],
                },
            ],
            "security_configuration": "encrypted",
            "tags": {"Name": "Model Cluster"},
        },
        "on_failure": "terminate_cluster",
        "load": [{"source": "s3://data/in", "destination": "hdfs:///in"}],
        "steps": [
            {
                "name": "Model",
                "spark": {
                    "class": "com.example.Model",
                    "jar": "s3://code/model.jar",
                    "conf": {
                        "spark.driver.extraJavaOptions": "-Denvironment=production",
                        "spark.executor.cores": "2",
                    },
                    "packages": ["com.databricks:spark-avro_2.11:4.0.0"],
                    "args": ["--date", "{% raw %}{{ date }}{% endraw %}"],
                    "deploy_mode": "client",
                    "logs": {"group": "spark", "stream": "model"},
                },
            }
        ],
        "save": [{"source": "hdfs:///out", "destination": "s3://data/out"}],
        "deadline": "121m",
        "retries": 1,
        "retry_delay": "1m",
        "retry_backoff": 2,
    }
    expected_score = {
        "after": "model",
        "region": "us-east-1",
        "emr": {"cluster_id": "j-123ABC456DEF9"},
        "on_failure": "continue",
        "steps": [
            {
                "name": "Score",
                "spark": {
                    "class": "com.example.Score",
                    "jar": "s3://code/score.jar",
                    "conf": {"spark.submit.deployMode": "cluster"},
                    "deploy_mode": "cluster",
                },
            }
        ],
        "deadline": "15m",
        "retries": 0,
    }
    assert expected_extract == extract
    assert expected_legacy == legacy
    assert expected_clean == clean
    assert expected_model == model
    assert expected_score == score


def test_a_step_is_the_spark_submit_that_sundial_ran(tmp_path):
    """With conf, packages, class, jar and args, between two s3-dist-cp steps."""
    spec = load(tmp_path, EVERY)
    tasks = {made.task_id: made.kwargs for made in plan_dag(spec.pipelines["every-field"]).tasks}
    kwargs = tasks["model"]
    steps = plan_steps([Step.model_validate(step) for step in kwargs["steps"]], on_failure=kwargs["on_failure"])
    args = [step.body["HadoopJarStep"]["Args"] for step in steps]
    assert [step.body["HadoopJarStep"]["Jar"] for step in steps] == ["command-runner.jar"] * 3
    assert [step.on_failure for step in steps] == ["terminate_cluster"] * 3
    assert args[0] == ["s3-dist-cp", "--src=s3://data/in", "--dest=hdfs:///in"]
    assert args[2] == ["s3-dist-cp", "--src=hdfs:///out", "--dest=s3://data/out"]
    submit = args[1]
    assert submit[0] == "spark-submit"
    assert "--conf spark.driver.extraJavaOptions=-Denvironment=production" in " ".join(submit)
    assert submit[submit.index("--packages") + 1] == "com.databricks:spark-avro_2.11:4.0.0"
    assert submit[submit.index("--class") + 1] == "com.example.Model"
    assert submit[-3] == "s3://code/model.jar"


def test_braces_and_dollar_signs_are_passed_through(tmp_path):
    """Text that looks like a template or a variable is changed by neither the loader nor Jinja."""
    texts = [
        "{{ x }}",
        "${HOME}",
        "$${A}",
        "{% if %}",
        "{# c #}",
        "a {% endraw %} b {{ c }}",
        "plain",
        "${",
        "{{ ${X} }}",
    ]
    made = load(tmp_path, process(task(batch(command=texts))))
    assert [str(error) for error in made.errors] == []
    command = made.pipelines["p"].jobs["main"].batch.command
    assert texts == [JINJA.from_string(argument).render() for argument in command]


def test_notifications_keep_recipient_condition_and_number_of_failures():
    """Email, PagerDuty and the older subscriptions; recipients with `never` are omitted."""
    expected = [
        {"pagerduty": "pagerduty_9f9f5111", "when": "on_failure", "after": 3},
        {"email": "Data Team <data@example.com>", "when": "on_failure"},
        {"email": "Boss <boss@example.com>", "when": "on_change_and_failures"},
        {"email": "Old <old@example.com>", "when": "on_change"},
    ]
    assert expected == translate(EVERY).file["every-field"]["notify"]


@pytest.mark.parametrize(("name", "email"), [("Zoë", "z@example.com"), ("Zoe", "zoë@example.com")])
def test_a_recipient_that_is_not_ascii_is_kept_as_the_address_alone(name, email):
    """A header cannot hold the name or the address in this form."""
    mail = {"email": {"name": name, "email": email, "notify_when": "on_failure"}}
    made = translate({**process(task(batch(command=["true"]))), "notifications": [mail]})
    assert [{"email": email, "when": "on_failure"}] == made.file["p"]["notify"]


def test_a_pagerduty_key_is_not_written_to_the_file():
    """The note names the Airflow connection and the last characters of the key."""
    text = read_json("x.json", json.dumps(EVERY), translate).yaml()
    assert "0123456789abcdef" not in text
    assert "create an Airflow connection pagerduty_9f9f5111" in " ".join(text.replace("#", "").split())
    assert "…cdef" in text


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (None, None),
        ({"continuous_schedule": {}}, {"continuous": {"pause": "0s"}}),
        ({"continuous_schedule": {"buffer_seconds": 90}}, {"continuous": {"pause": "90s"}}),
        (
            {"cron_schedule": {"minutes": "0", "hours": "22", "day_of_month": "L", "month": "*", "day_of_week": "?"}},
            "0 22 L * *",
        ),
    ],
)
def test_schedules(schedule, expected):
    """No schedule, continuous, and Quartz converted to cron."""
    assert expected == pipeline(schedule=schedule)["schedule"]


def test_a_paused_process_has_no_schedule():
    """The note contains the schedule."""
    schedule = {"cron_schedule": {"minutes": "0", "hours": "*", "day_of_month": "*", "month": "*", "day_of_week": "?"}}
    data = process(schedule=schedule, paused=True)
    assert None is translate(data).file["p"]["schedule"]
    assert any("set `schedule: '0 * * * *'`" in text for path, text in notes(data) if path == "p.schedule")


def test_quartz_without_a_cron_equivalent_is_rejected(tmp_path):
    """The import has no schedule, and the JSON does not load; other pipelines of the file do."""
    schedule = {"cron_schedule": {"minutes": "0", "hours": "1", "day_of_month": "LW", "month": "*", "day_of_week": "?"}}
    data = [process(schedule=schedule), process() | {"process_definition_name": "q"}]
    translation = translate(data)
    refused = [note for note in translation.notes if note.refused]
    assert [note.path for note in refused] == [("p", "schedule")]
    assert refused[0].source == (0, "schedule", "cron_schedule", "day_of_month")
    path = tmp_path / "two.json"
    path.write_text(json.dumps(data))
    spec = load_file(path)
    assert list(spec.pipelines) == ["q"]
    assert spec.names == ["p", "q"]
    assert [error.pipeline for error in spec.errors] == ["p"]


def test_a_note_about_the_time_zone_is_only_added_for_schedules_with_hours():
    """An hourly schedule does not depend on the time zone."""
    fields = {"minutes": "5", "hours": "*", "day_of_month": "*", "month": "*", "day_of_week": "?"}
    noted = [
        any("time zone" in text for _, text in notes(process(schedule={"cron_schedule": fields | {"hours": hours}})))
        for hours in ("*", "7")
    ]
    assert noted == [False, True]


@pytest.mark.parametrize(("action", "expected"), [({}, "wait"), ({"overlap_action": "terminate"}, "terminate")])
def test_overlap(action, expected):
    """`wait` is Sundial's default."""
    assert expected == pipeline(**action)["overlap"]


def test_dependencies_without_success_required_become_the_finished_rule():
    """With a note if the upstream task has several attempts."""
    first = task(batch(), task_definition_name="a", max_attempts=2)
    second = task(
        batch(),
        task_definition_name="b",
        dependencies=[{"task_definition_name": "a", "success_required": False}],
    )
    data = process(first, second)
    assert translate(data).file["p"]["jobs"]["b"]["after"] == {"a": "finished"}
    assert "p.jobs.b.after.a" in [path for path, text in notes(data) if "first failed attempt" in text]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_attempts": 1, "backoff_base_seconds": 60, "backoff_exponent": 2.0}, {"retries": 0}),
        ({"max_attempts": 3, "backoff_base_seconds": 60}, {"retries": 2, "retry_delay": "1m"}),
        (
            {"max_attempts": 3, "backoff_base_seconds": 7, "backoff_exponent": 3},
            {"retries": 2, "retry_delay": "7s", "retry_backoff": 3},
        ),
        (
            {"max_attempts": 2, "backoff_base_seconds": 1, "backoff_exponent": 20},
            {"retries": 1, "retry_delay": "1s", "retry_backoff": 10},
        ),
        ({"max_attempts": 2, "backoff_base_seconds": 1, "backoff_exponent": 0.5}, {"retries": 1, "retry_delay": "1s"}),
        ({"max_attempts": 500, "backoff_base_seconds": 1}, {"retries": 100, "retry_delay": "1s"}),
    ],
)
def test_attempts_and_backoff(fields, expected):
    """The delay before try n+1 is base * exponent^(n-1) seconds; values are limited to what a pipeline file allows."""
    made = job(batch(), **fields)
    assert expected == {key: value for key, value in made.items() if key.startswith("retr")}


def test_a_note_is_added_for_limited_values():
    """For the factor and the number of attempts, each at its key."""
    data = process(task(batch(), max_attempts=500, backoff_base_seconds=1, backoff_exponent=20))
    paths = [path for path, _ in notes(data)]
    assert "p.jobs.main.retries" in paths
    assert "p.jobs.main.retry_backoff" in paths


def test_the_deadline_of_a_step_with_extreme_backoff_is_limited():
    """To the maximum duration, instead of overflowing."""
    made = job(spark(), max_attempts=2000, max_runtime_seconds=60, backoff_base_seconds=1, backoff_exponent=1e300)
    assert made["deadline"] == "3650d"


def test_a_short_time_limit_with_several_attempts_becomes_the_minimum_timeout():
    """60 seconds for AWS Batch; with one attempt, it becomes the job's deadline and is kept."""
    several = job(batch(), max_attempts=2, max_runtime_seconds=30)
    once = job(batch(), max_attempts=1, max_runtime_seconds=30)
    assert several["batch"]["timeout"] == "1m"
    assert once["deadline"] == "30s"


def test_a_job_without_a_queue_uses_sundials_default():
    """With a note, unless a default queue was given."""
    named, guessed = translate(process(), "data"), translate(process())
    assert named.file["defaults"]["batch"]["queue"] == "data"
    assert guessed.file["defaults"]["batch"]["queue"] == "sundial-job-queue"
    path = ("defaults", "batch", "queue")
    assert [sum(note.path == path for note in made.notes) for made in (named, guessed)] == [0, 1]


def test_the_queue_of_the_folders_defaults_is_used(tmp_path):
    """Instead of Sundial's default, when JSON is loaded directly."""
    (tmp_path / "defaults.yaml").write_text("defaults: {batch: {queue: ours}}\n")
    (tmp_path / "p.json").write_text(json.dumps(process()))
    assert load_file(tmp_path / "p.json").pipelines["p"].jobs["main"].batch.queue == "ours"


def test_the_entry_point_is_kept_and_aws_batch_does_not_retry(tmp_path):
    """No preamble precedes the image's entry point, and there is one attempt per try."""
    made = load(tmp_path, process(task(batch(command=[])))).pipelines["p"].jobs["main"].batch
    assert (made.preamble, made.attempts, made.command) == (False, 1, None)


def test_a_script_name_is_not_read_as_a_template_file():
    """BashOperator treats a command that ends in .sh as a file name."""
    made = job({"shell_script_command": {"script": "/opt/run.sh"}})
    assert made["with"]["bash_command"] == "/opt/run.sh\n"


def test_an_escaped_dollar_sign_is_passed_through(tmp_path):
    r"""`\u0024{X}` reaches the program as `${X}` and is not substituted."""
    command = json.dumps(process(task(batch(command=["echo", "@{X}"])))).replace("@", "\\u0024")
    (tmp_path / "defaults.yaml").write_text("defaults: {batch: {queue: q}}\n")
    (tmp_path / "p.json").write_text(command)
    assert load_file(tmp_path / "p.json").pipelines["p"].jobs["main"].batch.command == ["echo", "${X}"]


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("echo one\necho '**status=success'", 0),
        ("echo '**status=success'; exit 0", 0),
        ("echo '**status=success'\nexit 3", 3),
        ("echo one", 1),
        ("echo 'status: **status=success'", 1),
        ("echo '**status=success'\necho '**status=failure'", 1),
        ("set -e\nfalse\necho '**status=success'", 1),
        ("cat <<END\n**status=success\nEND\n", 0),
        ("case x in x) echo '**status=success' ;; esac # the end", 0),
        ('X=${Y:-**status=success}; echo "$X" \'{{ ds }}\' >&2; echo "$X"', 0),
    ],
)
def test_a_script_with_explicit_success_must_print_it(script, code, tmp_path):
    """On a line of its own, with exit code 0; its output is shown, and no temporary files are left."""
    data = process(task({"shell_script_command": {"script": script}}, require_explicit_success=True))
    assert [] == [note for note in translate(data).notes if note.refused]
    file = tmp_path / "p.json"
    file.write_text(json.dumps(data))
    bash = JINJA.from_string(load_file(file).pipelines["p"].jobs["main"].with_["bash_command"]).render()
    files = tmp_path / "files"
    files.mkdir()
    done = subprocess.run(
        ["bash", "-c", bash], env={**os.environ, "TMPDIR": str(files)}, capture_output=True, text=True, check=False
    )
    assert (code, []) == (done.returncode, list(files.iterdir()))
    assert ("one\n" in done.stdout) == ("one" in script)


def test_explicit_success_of_spark_is_kept():
    """The driver writes an object; a note says where, instead of to Sundial's REST API."""
    translation = translate(process(task(spark(), require_explicit_success=True)))
    assert [note for note in translation.notes if note.refused] == []
    assert translation.file["p"]["jobs"]["main"]["explicit_success"] is True
    (text,) = [text for path, text in notes(process(task(spark(), require_explicit_success=True))) if "success" in path]
    assert "write an object to the URI in its environment variable BATCHEMR_SUCCESS_URI" in text


def test_the_number_of_masters_is_always_one():
    """As in Sundial, which ignores the count; with a note."""
    data = process(task(cluster(master_instance=group(instance_count=5))))
    assert translate(data).file["p"]["jobs"]["main"]["emr"]["master"] == {"type": "m4.large", "count": 1}
    assert "p.jobs.main.emr.master.count" in [path for path, _ in notes(data)]


def test_an_empty_group_is_omitted():
    """EMR does not allow a core group without instances."""
    data = process(task(cluster(core_instance=group(instance_count=0))))
    assert "core" not in translate(data).file["p"]["jobs"]["main"]["emr"]
    assert any("no instances" in text for _, text in notes(data))


def test_a_new_cluster_has_sundials_defaults():
    """For release_label, region and visible_to_all_users."""
    command = cluster()
    del command["emr_command"]["emr_cluster"]["new_emr_cluster"]["release_label"]
    made = job(command)
    assert (made["emr"]["release"], made["region"], made["emr"]["visible"]) == ("emr-5.10.0", "us-east-1", False)


@pytest.mark.parametrize("role", ["EMR_DefaultRole", {"value": "EMR_DefaultRole"}])
def test_roles_in_both_enum_formats(role):
    """Sundial's API returns an enum in a union as text or as an object with a value."""
    made = job(cluster(emr_service_role={"default_emr_service_role": role}))
    assert made["emr"]["service_role"] == "EMR_DefaultRole"


def test_simple_configurations_use_the_short_form():
    """Classifications without nested configurations become a mapping."""
    configurations = [{"classification": "spark", "properties": {"maximizeResourceAllocation": "true"}}]
    made = job(cluster(configurations=configurations))
    assert made["emr"]["configurations"] == {"spark": {"maximizeResourceAllocation": "true"}}


def test_spark_conf_without_a_value_is_rejected():
    """As by spark-submit."""
    refused = [note for note in translate(process(task(spark(spark_conf=["verbose"])))).notes if note.refused]
    assert [n.message for n in refused] == ["'verbose' is not key=value, which spark-submit rejects; omitted"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a b"], ["a-b"]),
        (["defaults"], ["defaults-2"]),
        (["a b", "a/b"], ["a-b", "a-b-2"]),
        (["ü"], ["process"]),
        (["x" * 300], ["x" * 124]),
    ],
)
def test_names_are_converted_to_what_aws_allows(names, expected):
    """Reserved and duplicate names get a number; the note has the original name."""
    translation = translate([process() | {"process_definition_name": name} for name in names])
    assert expected == [name for name in translation.file if name != "defaults"]
    assert set(expected) - set(names) == {
        note.path[0] for note in translation.notes if " was " in f" {note.message}"
    } - {"defaults"}


def test_renamed_jobs_are_renamed_in_after():
    """`after` refers to the new name."""
    first = task(batch(), task_definition_name="step one")
    second = task(batch(), task_definition_name="two", dependencies=[{"task_definition_name": "step one"}])
    assert {
        name: {key: value for key, value in made.items() if key == "after"}
        for name, made in pipeline(first, second)["jobs"].items()
    } == {"step-one": {}, "two": {"after": "step-one"}}


EXACTLY_ONE = "expected exactly one of batch_image_command, emr_command, shell_script_command, docker_image_command"
WRONG = {
    "no name": (
        lambda d: d.pop("process_definition_name"),
        "$.process_definition_name",
        "`process_definition_name` is missing",
    ),
    "no tasks": (lambda d: d.update(task_definitions=[]), "$.task_definitions", "must not be empty"),
    "tasks as object": (
        lambda d: d.update(task_definitions={}),
        "$.task_definitions",
        "expected a list, not a mapping",
    ),
    "task as text": (lambda d: d["task_definitions"].append("x"), "$.task_definitions[1]", "expected a mapping, not x"),
    "attempts as text": (
        lambda d: d["task_definitions"][0].update(max_attempts="3"),
        "$.task_definitions[0].max_attempts",
        "expected a whole number, not 3",
    ),
    "no attempts": (
        lambda d: d["task_definitions"][0].pop("max_attempts"),
        "$.task_definitions[0].max_attempts",
        "`max_attempts` is missing",
    ),
    "zero attempts": (
        lambda d: d["task_definitions"][0].update(max_attempts=0),
        "$.task_definitions[0].max_attempts",
        "must be at least 1, not 0",
    ),
    "true for a number": (
        lambda d: d["task_definitions"][0].update(backoff_base_seconds=True),
        "$.task_definitions[0].backoff_base_seconds",
        "expected a whole number, not true",
    ),
    "two executables": (
        lambda d: d["task_definitions"][0]["executable"].update(shell_script_command={"script": "x"}),
        "$.task_definitions[0].executable",
        f"{EXACTLY_ONE}, not batch_image_command and shell_script_command",
    ),
    "unknown executable": (
        lambda d: d["task_definitions"][0].update(executable={"lambda": {}}),
        "$.task_definitions[0].executable",
        f"{EXACTLY_ONE}, not lambda",
    ),
    "command as text": (
        lambda d: d["task_definitions"][0]["executable"]["batch_image_command"].update(command="run"),
        "$.task_definitions[0].executable.batch_image_command.command",
        "expected a list, not run",
    ),
    "unknown dependency": (
        lambda d: d["task_definitions"][0].update(dependencies=[{"task_definition_name": "mian"}]),
        "$.task_definitions[0].dependencies[0].task_definition_name",
        "the process has no task 'mian'",
    ),
    "twice the same task": (
        lambda d: d["task_definitions"].append(copy.deepcopy(d["task_definitions"][0])),
        "$.task_definitions[1].task_definition_name",
        "duplicate task 'main'",
    ),
    "overlap": (
        lambda d: d.update(overlap_action="kill"),
        "$.overlap_action",
        "expected wait or terminate, not kill",
    ),
    "both schedules": (
        lambda d: d.update(schedule={"cron_schedule": None}),
        "$.schedule",
        "expected exactly one of cron_schedule, continuous_schedule, not none",
    ),
    "negative buffer": (
        lambda d: d.update(schedule={"continuous_schedule": {"buffer_seconds": -1}}),
        "$.schedule.continuous_schedule.buffer_seconds",
        "must be at least 0, not -1",
    ),
    "number as cron field": (
        lambda d: d.update(
            schedule={
                "cron_schedule": {
                    "minutes": 0,
                    "hours": "1",
                    "day_of_month": "*",
                    "month": "*",
                    "day_of_week": "?",
                }
            }
        ),
        "$.schedule.cron_schedule.minutes",
        "expected text, not 0",
    ),
    "mail without address": (
        lambda d: d.update(notifications=[{"email": {"name": "x"}}]),
        "$.notifications[0].email.email",
        "`email` is missing",
    ),
    "bid": (
        lambda d: d["task_definitions"][0].update(
            cluster(core_instance=group(aws_market={"spot": {"bid_price": "cheap"}}))
            and {"executable": cluster(core_instance=group(aws_market={"spot": {"bid_price": "cheap"}}))}
        ),
        "$.task_definitions[0].executable.emr_command.emr_cluster.new_emr_cluster.core_instance.aws_market.spot.bid_price",
        "expected a price in dollars per hour such as 0.07, not cheap",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_invalid_definition_is_reported_with_its_path(case):
    """The process is omitted from the result."""
    change, path, message = WRONG[case]
    data = process()
    change(data)
    document = read_json("p.json", json.dumps(data), translate)
    assert [f"{path}: {message}"] == [error.message for error in document.errors]
    assert "p" not in document.value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid JSON: expecting value"),
        ("{,}", "invalid JSON: expecting property name enclosed in double quotes"),
        ("[]", "expected a Sundial process definition or a list of them (write other pipelines as YAML)"),
        ("7", "expected a Sundial process definition or a list of them (write other pipelines as YAML)"),
        ('{"a": NaN}', "invalid JSON: NaN is not a JSON number"),
        ('["\\ud800"]', "invalid JSON: lone surrogate in a string"),
        ("[" * 100_000, "invalid JSON: nested too deeply"),
    ],
)
def test_other_json_is_rejected(text, message):
    """Invalid JSON, other documents, and JSON that cannot be represented."""
    assert [message] == [error.message for error in read_json("p.json", text, translate).errors]


def test_an_error_has_line_and_column_of_the_json(tmp_path):
    """The caret points to the field, as in YAML."""
    path = tmp_path / "p.json"
    data = process()
    data["task_definitions"][0]["max_attempts"] = "3"
    path.write_text(json.dumps(data, indent=2))
    error = load_file(path).errors[0]
    assert error.source == '      "max_attempts": "3",'
    assert (error.pipeline, error.column) == ("p", 7)


def test_an_unknown_field_is_omitted_with_a_note():
    """With a suggestion; Sundial ignores unknown fields."""
    data = process(task(batch(), max_runtime_second=5))
    assert (
        "Sundial has no field task_definitions.0.max_runtime_second; omitted (did you mean `max_runtime_seconds`?)"
        in [text for _, text in notes(data)]
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**6) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(value, path=()):
    """All paths of JSON data."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


@settings(max_examples=300, deadline=None)
@given(data=st.data(), put=JSON, delete=st.booleans())
def test_any_mutation_is_translated_or_rejected(data, put, delete):
    """With valid YAML or a problem, never a traceback."""
    changed = copy.deepcopy(EVERY)
    path = data.draw(st.sampled_from([place for place in places(changed) if place]))
    parent = changed
    for key in path[:-1]:
        parent = parent[key]
    if delete:
        del parent[path[-1]]
    else:
        parent[path[-1]] = put
    document = read_json("x.json", json.dumps(changed), translate)
    written = document.yaml("header")
    assert document.value == (yaml.safe_load(written) or {})
    for error in document.errors:
        assert error.message


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=30), arguments=st.lists(st.text(min_size=1, max_size=12), max_size=4))
def test_any_text_reaches_the_program_unchanged(text, arguments, tmp_path_factory):
    """Commands and values with any characters pass through YAML, variables and Jinja. AWS takes no empty arguments."""
    data = process(
        task(batch(command=["run", *arguments], environment_variables=[{"variable_name": "V", "value": text}]))
    )
    spec = load(tmp_path_factory.getbasetemp(), data)
    assert [str(error) for error in spec.errors] == []
    made = spec.pipelines["p"].jobs["main"].batch
    assert text == JINJA.from_string(made.env["V"]).render()
    assert ["run", *arguments] == [JINJA.from_string(argument).render() for argument in made.command]
