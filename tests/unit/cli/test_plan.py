"""`batchemr plan`: which run it plans, and the requests that it shows."""

from __future__ import annotations

import json
import re
import sys

import pytest
from typer.testing import CliRunner

from airflow_batchemr.cli.app import app as batchemr
from airflow_batchemr.cli.plan import app


@pytest.fixture
def run_key(tmp_path, monkeypatch):
    """`run_key(schedule, *options)` returns the run key that is planned for a pipeline in Berlin without a ledger."""
    monkeypatch.delenv("AIRFLOW__BATCHEMR__STATE", raising=False)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))

    def planned(schedule, *options):
        file = tmp_path / "pipeline.yaml"
        file.write_text(
            f"p: {{schedule: {schedule}, timezone: Europe/Berlin, batch: {{image: 'i:1', queue: q, command: c}}}}"
        )
        result = CliRunner().invoke(app, [str(file), "--json", *options])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)["run_key"]

    return planned


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("'0 5,17 * * *'", "2026-11-20T040000Z"),
        ("'@daily'", "2026-11-19T230000Z"),
        ("'@hourly'", "2026-11-19T230000Z"),
        ("'0 5 * * 1'", "2026-11-19T230000Z"),
        ("'0 0 30 2 *'", "2026-11-19T230000Z"),
        ("null", "2026-11-19T230000Z"),
    ],
    ids=["twice a day", "daily", "hourly", "not on this day", "never", "no schedule"],
)
def test_a_day_selects_the_first_run_that_is_due_on_it(run_key, schedule, expected):
    """By the pipeline's schedule and time zone. If none is due, it is midnight."""
    assert expected == run_key(schedule, "--date", "2026-11-20")


def test_a_time_is_the_logical_date(run_key):
    """In the pipeline's time zone, unless it has an offset."""
    assert "2026-11-19T230000Z" == run_key("'0 5 * * *'", "--date", "2026-11-20T00:00")
    assert "2026-11-20T000000Z" == run_key("'0 5 * * *'", "--date", "2026-11-20T00:00Z")


def test_a_job_is_planned_with_its_shared_cluster(tmp_path, monkeypatch):
    """`--job` shows the job and the task that creates its cluster."""
    monkeypatch.delenv("AIRFLOW__BATCHEMR__STATE", raising=False)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    file = tmp_path / "pipeline.yaml"
    file.write_text("""
p:
  clusters: {spark: {type: m5.xlarge, instances: 2, log_uri: s3://logs/}}
  jobs:
    one: {emr: {cluster: spark}, steps: a}
    two: {emr: {cluster: spark}, steps: b}
""")
    result = CliRunner().invoke(app, [str(file), "--json", "--job", "two"])
    assert ["spark.create_cluster", "two"] == [job["task_id"] for job in json.loads(result.stdout)["jobs"]]


@pytest.mark.parametrize("array", ["", ", array: 3"])
def test_the_command_of_a_definition_is_not_known_without_aws(tmp_path, monkeypatch, array):
    """A job without `command` is planned with a placeholder, also as an array."""
    monkeypatch.delenv("AIRFLOW__BATCHEMR__STATE", raising=False)
    file = tmp_path / "pipeline.yaml"
    file.write_text(f"p: {{batch: {{definition: score, queue: q}}{array}}}")
    result = CliRunner().invoke(app, [str(file), "--json", "--requests"])
    assert result.exit_code == 0, result.output
    assert "(the job definition's command)" in result.stdout


def test_the_container_of_a_definition_is_not_checked_without_aws(tmp_path, monkeypatch):
    """It gets the overrides, as one of an ECS task."""
    monkeypatch.delenv("AIRFLOW__BATCHEMR__STATE", raising=False)
    file = tmp_path / "pipeline.yaml"
    file.write_text("p: {batch: {definition: score, queue: q, container: worker, memory: 4GiB}}")
    result = CliRunner().invoke(app, [str(file), "--json", "--requests"])
    assert result.exit_code == 0, result.output
    (job,) = json.loads(result.stdout)["jobs"]
    (request,) = job["requests"]
    (task,) = request["request"]["ecsPropertiesOverride"]["taskProperties"]
    assert ["worker"] == [one["name"] for one in task["containers"]]


def test_requests_are_those_of_the_run(tmp_path, monkeypatch):
    """On a shared cluster, each step is a separate call, so that a failure prevents the next step."""
    monkeypatch.delenv("AIRFLOW__BATCHEMR__STATE", raising=False)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    (tmp_path / "p.yaml").write_text(
        """
p:
  clusters: {spark: {type: m5.xlarge, log_uri: s3://logs/}}
  jobs:
    one: {emr: {cluster: spark}, steps: [a, b, c]}
    two:
      on: {emr_serverless: {application: 00abc, role: "arn:aws:iam::123456789012:role/r"}}
      spark: {py: s3://x.py}
      deadline: 2h
"""
    )
    result = CliRunner().invoke(app, [str(tmp_path / "p.yaml"), "--requests", "--json"])
    assert 0 == result.exit_code, result.output
    tasks = {one["task_id"]: one for one in json.loads(result.stdout)["jobs"]}
    (added,) = tasks["one"]["requests"]
    assert (1, "2 more follow, each when the steps before it have completed") == (
        len(added["request"]["Steps"]),
        added["note"],
    )
    (started,) = tasks["two"]["requests"]
    assert ("StartJobRun", "00abc", 120) == (
        started["call"],
        started["request"]["applicationId"],
        started["request"]["executionTimeoutMinutes"],
    )


@pytest.fixture
def house_rules(tmp_path, monkeypatch):
    """A policy in the `config` folder of Airflow's home: every pipeline has an owner, and each job gets 4 GiB."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "house_rules_of_the_plan.py").write_text("""
from airflow_batchemr.pipeline_file import PipelineFileError

def rules(pipeline):
    if not pipeline.owner:
        raise PipelineFileError("every pipeline has an owner", "write `owner: your-team`")
    job = pipeline.jobs["mine"]
    if isinstance(job.batch.vcpus, int) and job.batch.vcpus > 16:
        raise PipelineFileError("at most 16 vCPUs")
    batch = job.batch.model_copy(update={"memory": [4096]})
    return pipeline.model_copy(update={"jobs": {"mine": job.model_copy(update={"batch": batch})}})
""")
    (tmp_path / "airflow.cfg").write_text("[batchemr]\npolicy = house_rules_of_the_plan.rules\n")
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    for name in ("CONFIG", "_BATCHEMR__STATE", "_BATCHEMR__POLICY"):
        monkeypatch.delenv(f"AIRFLOW_{name}", raising=False)
    monkeypatch.setattr("sys.path", list(sys.path))
    file = tmp_path / "p.yaml"
    batch = "batch: {image: 'i:1', queue: q, command: c, memory: 512MiB}"
    file.write_text(f"mine:\n  owner: me\n  {batch}\nnobodys:\n  {batch}\n")
    return file


def test_the_policy_is_applied(house_rules):
    """As in Airflow: the plan is that of the changed pipeline, and a rejected one is an error at its position."""
    result = CliRunner().invoke(app, [str(house_rules), "--json"])
    (planned,) = map(json.loads, result.stdout.splitlines())
    (_, submitted) = planned["jobs"][0]["requests"]
    sizes = submitted["request"]["containerOverrides"]["resourceRequirements"]
    assert {"type": "MEMORY", "value": "4096"} in sizes
    assert 1 == result.exit_code
    assert "p.yaml:4:1: error: every pipeline has an owner" in result.stderr


def test_the_policy_is_applied_to_rendered_params(house_rules):
    """A template does not get around it."""
    text = house_rules.read_text().split("nobodys")[0].replace("command: c", "command: c, vcpus: '{{ params.n }}'")
    for cpus, does, note in ((16, "run", ""), (17, "refused", "[batchemr] policy: at most 16 vCPUs")):
        house_rules.write_text(f"{text}  params: {{n: {cpus}}}\n")
        result = CliRunner().invoke(app, [str(house_rules), "--json"])
        (job,) = json.loads(result.stdout)["jobs"]
        assert (does, note) == (job["does"], job["note"])
        assert result.exit_code == (does == "refused")


@pytest.mark.parametrize("command", [["validate"], ["render", "-p", "nobodys"], ["graph", "-p", "nobodys"]])
def test_the_policy_is_applied_by_every_command_that_reads_pipelines(house_rules, command):
    """What Airflow would reject is an error."""
    result = CliRunner().invoke(batchemr, [*command, str(house_rules)])
    assert 1 == result.exit_code
    assert "p.yaml:4:1: error: every pipeline has an owner" in result.output


def test_a_policy_that_cannot_be_imported_is_an_error(house_rules, monkeypatch):
    """Nothing is planned without it."""
    monkeypatch.setenv("AIRFLOW__BATCHEMR__POLICY", "no_such_rules.rules")
    result = CliRunner().invoke(app, [str(house_rules)])
    assert (1, "") == (result.exit_code, result.stdout)
    assert "cannot import the function of [batchemr] policy, no_such_rules.rules" in result.stderr


ROLE = "arn:aws:iam::123456789012:role/Jobs"
SPARK = "spark: {py: s3://code/a.py}"
CLUSTER = "{type: m5.xlarge, log_uri: s3://logs/}"
URI = "BATCHEMR_SUCCESS_URI=s3://the/ledger/p/20261120/_files/work/explicit/0001/"


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (
            f"emr: {CLUSTER}, {SPARK}",
            ["spark.yarn.appMasterEnv.{0}0", "spark.executorEnv.{0}0"],
        ),
        (f"emr: {CLUSTER}, steps: [{{hive: s3://code/a.q}}, [ls], [date]]", ["{0}1"]),
        ("emr: {cluster_id: j-ABC}, steps: [[ls]]", ["{0}0"]),
        (f"emr: {{cluster: shared}}, {SPARK}", ["spark.yarn.appMasterEnv.{0}0", "spark.executorEnv.{0}0"]),
        (
            f"on: {{emr_serverless: {{application: abc, role: '{ROLE}'}}}}, {SPARK}",
            ["spark.emr-serverless.driverEnv.{0}0", "spark.executorEnv.{0}0"],
        ),
        (
            f"on: {{emr_eks: {{virtual_cluster: abc, role: '{ROLE}', release: emr-7.5.0-latest}}}}, {SPARK}",
            ["spark.kubernetes.driverEnv.{0}0", "spark.executorEnv.{0}0"],
        ),
    ],
    ids=["own cluster", "commands", "existing cluster", "shared cluster", "serverless", "eks"],
)
def test_the_plan_of_emr_work_shows_where_it_reports_success(tmp_path, monkeypatch, job, expected):
    """Driver, executors and commands get the URI, with the number of the step; the next step waits for its object."""
    monkeypatch.delenv("AIRFLOW__BATCHEMR__STATE", raising=False)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    file = tmp_path / "pipeline.yaml"
    clusters = f"clusters: {{shared: {CLUSTER}}}, " if "shared" in job else ""
    file.write_text(f"p: {{{clusters}jobs: {{work: {{explicit_success: true, retries: 0, {job}}}}}}}")
    result = CliRunner().invoke(app, [str(file), "--json", "--run-id", "20261120"])
    assert result.exit_code == 0, result.output
    (work,) = [one for one in json.loads(result.stdout)["jobs"] if one["task_id"] == "work"]
    found = re.findall(r'[^\s"]*BATCHEMR_SUCCESS_URI[^\s"]*', json.dumps(work["requests"]))
    assert [one.format(URI) for one in expected] == found


def test_nulls_in_the_form_of_aws_are_left_out_of_requests(tmp_path, monkeypatch):
    """AWS's requests have none, at any depth."""
    monkeypatch.delenv("AIRFLOW__BATCHEMR__STATE", raising=False)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    file = tmp_path / "pipeline.yaml"
    file.write_text("""
p:
  jobs:
    one:
      batch:
        image: i:1
        queue: q
        command: c
        log_configuration: {logDriver: awslogs, options: null}
        submit: {retryStrategy: {evaluateOnExit: null}, eksPropertiesOverride: {podProperties: {metadata: null}}}
        job_definition: {containerProperties: {linuxParameters: {maxSwap: null, swappiness: 3}}}
    two:
      emr: {type: m5.xlarge, log_uri: s3://logs/, overrides: {Instances: {Placement: {AvailabilityZone: null}}}}
      steps: [{raw: {HadoopJarStep: {Jar: x, Args: null}, ActionOnFailure: null}}]
""")
    result = CliRunner().invoke(app, [str(file), "--json"])
    assert result.exit_code == 0, result.output
    assert ["run", "run"] == [job["does"] for job in json.loads(result.stdout)["jobs"]]
    assert "null" not in json.dumps([job["requests"] for job in json.loads(result.stdout)["jobs"]])


def test_a_wrong_value_is_refused_although_another_one_is_not_known_yet(tmp_path, monkeypatch):
    """The templates of the params are rendered; XComs are not known before the run."""
    monkeypatch.delenv("AIRFLOW__BATCHEMR__STATE", raising=False)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    file = tmp_path / "pipeline.yaml"
    file.write_text("""
p:
  params: {cpus: 0.25, release: emr-7.5, number: 4}
  defaults: {emr: {type: m5.xlarge, log_uri: s3://logs/}, batch: {image: i:1, queue: q, command: c}}
  jobs:
    array: {array: "{{ ti.xcom_pull('x') }}", batch: {vcpus: "{{ params.cpus }}"}}
    memory: {batch: {memory: [8GiB, "{{ ti.xcom_pull('x') }}", "{{ params.number }}GiB"]}}
    cluster: {emr: {instances: "{{ ti.xcom_pull('x') }}", release: "{{ params.release }}"}, steps: [[ls]]}
    good: {emr: {instances: "{{ params.number }}", release: "{{ ti.xcom_pull('x') }}"}, steps: [[ls]]}
""")
    result = CliRunner().invoke(app, [str(file), "--json"])
    jobs = {one["task_id"]: (one["does"], one["note"]) for one in json.loads(result.stdout)["jobs"]}
    assert 1 == result.exit_code
    assert ("refused", "memory: memory sizes must be in ascending order, not 8192, 4096 MiB") == jobs["memory"]
    assert "refused" == jobs["array"][0]
    assert jobs["array"][1].startswith("vcpus: EC2 requires whole vCPUs, not 0.25")
    assert "refused" == jobs["cluster"][0]
    assert jobs["cluster"][1].startswith("cluster.release: expected a release label such as emr-7.5.0, not emr-7.5")
    assert "run" == jobs["good"][0]
    assert jobs["good"][1].startswith("not known before the run: cluster.release ({{ ti.xcom_pull('x') }})")


def test_brackets_in_notes_are_shown(tmp_path, monkeypatch):
    """They are no markup of the table."""
    monkeypatch.delenv("AIRFLOW__BATCHEMR__STATE", raising=False)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    file = tmp_path / "p.yaml"
    file.write_text("p: {array: '{{ x[bold] }}', batch: {image: 'i:1', queue: q, command: c}}")
    result = CliRunner().invoke(app, [str(file)])
    assert "array ({{ x[bold] }})" in " ".join(result.stdout.replace("│", " ").split())
