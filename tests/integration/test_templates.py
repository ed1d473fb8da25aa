"""Numbers from params and upstream tasks: rendered by Airflow, checked, and sent to the local AWS."""

from __future__ import annotations

import json
import textwrap
from collections import Counter

import pytest
from airflow.sdk import DAG
from airflow.sdk.definitions._internal.templater import FILTERS
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from typer.testing import CliRunner

from airflow_batchemr import BatchArrayOperator, EphemeralEmrOperator, build_dags
from airflow_batchemr.cli.plan import app
from airflow_batchemr.pipeline_file import PipelineFileError
from airflow_batchemr.pipeline_file.checks.templates import AIRFLOW_FILTERS
from tests.integration.task_engine import Task
from tests.integration.test_batch_mapped import submitted

RESOURCES = (
    "vcpus: '{{ params.cpus }}', memory: '{{ params.memory }}', attempts: '{{ params.tries }}', "
    "timeout: '{{ params.minutes }}m'"
)


@pytest.fixture
def file(tmp_path):
    """`file(text)` creates a pipeline file with this text."""

    def write(text):
        path = tmp_path / "p.yaml"
        path.write_text(textwrap.dedent(text))
        return path

    return write


@pytest.fixture
def sized(file, work):
    """A file whose array sizes come from a param and from another task, and whose resources come from params."""
    command = json.dumps(work.command("true"))
    return file(f"""
        sized:
          params: {{shards: 3, cpus: 2, memory: 512MiB, minutes: 5, tries: 2}}
          jobs:
            count:
              operator: airflow.providers.standard.operators.bash.BashOperator
              with: {{bash_command: echo 4}}
            by_param:
              array: "{{{{ params.shards }}}}"
              batch: {{image: 'a:1', queue: default, command: {command}, {RESOURCES}}}
            by_task:
              after: count
              array: {{size: "{{{{ ti.xcom_pull('count') }}}}"}}
              batch: {{image: 'a:1', queue: default, command: {command}}}
    """)


@pytest.fixture
def clusters(file):
    """A file whose clusters get instances and release from params: of one job, and of several."""
    return file("""
        clusters:
          params: {nodes: 3, release: emr-7.4.0}
          clusters:
            shared:
              log_uri: s3://state/logs
              release: "{{ params.release }}"
              master: {type: m5.xlarge}
              core: {type: m5.xlarge, count: "{{ params.nodes }}"}
          jobs:
            own:
              emr: {type: m5.xlarge, instances: "{{ params.nodes }}", release: "{{ params.release }}", log_uri: s3://state/l}
              steps: ['true']
            user: {emr: {cluster: shared}, steps: ['true']}
    """)


def plan(path, *more):
    """Exit code, jobs by name, and notes of `batchemr plan`."""
    result = CliRunner().invoke(app, [str(path), "--date", "2026-11-20", "--json", *more])
    planned = json.loads(result.stdout)
    return result.exit_code, {job["task_id"]: job for job in planned["jobs"]}, planned["notes"]


def requests(job, call):
    return [one["request"] for one in job["requests"] if one["call"] == call]


def resources(container):
    return {one["type"]: one["value"] for one in container["resourceRequirements"]}


def test_arrays_get_size_and_resources_from_a_param_and_an_upstream_task(aws, run_dag, sized):
    """What the server received."""
    (dag,) = build_dags(sized)
    assert {"count": "success", "by_param": "success", "by_task": "success"} == run_dag(dag).tasks
    by_param, by_task = submitted(aws, "sized")
    assert (3, 4) == (by_param["arrayProperties"]["size"], by_task["arrayProperties"]["size"])
    assert {"VCPU": "2", "MEMORY": "512"} == resources(by_param["container"])
    assert {"attemptDurationSeconds": 300} == by_param["timeout"]
    assert 2 == by_param["retryStrategy"]["attempts"]


def test_the_conf_of_a_run_changes_the_size(aws, run_dag, sized):
    """Params of a run override the defaults of the file; numbers and text are the same."""
    (dag,) = build_dags(sized)
    conf = {"shards": 5, "cpus": "1", "memory": 1024, "minutes": 90}
    assert "success" == run_dag(dag, conf=conf).state
    by_param, _ = submitted(aws, "sized")
    assert 5 == by_param["arrayProperties"]["size"]
    assert {"VCPU": "1", "MEMORY": "1024"} == resources(by_param["container"])
    assert {"attemptDurationSeconds": 5400} == by_param["timeout"]


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"shards": 0}, "array.size: must be at least 1, not 0"),
        ({"shards": "many"}, "array.size: expected a whole number, not many"),
        ({"shards": None}, "array.size: the template rendered to None"),
        ({"memory": "lots"}, "memory[0]: expected a size like 8GiB or 512MiB, not 'lots'"),
        ({"cpus": -1}, "vcpus: expected a number of vCPUs above 0, not -1"),
        ({"tries": 11}, "attempts: must be at most 10, not 11"),
        ({"minutes": 0}, "timeout: AWS Batch takes a timeout of at least 60 seconds, not 0"),
    ],
)
def test_a_wrong_rendered_value_submits_nothing(aws, run_dag, sized, conf, message):
    """The task fails with the option, the value and the rule; `plan` shows the same for a default of the file."""
    (dag,) = build_dags(sized)
    finished = run_dag(dag, conf=conf)
    assert {"count": "success", "by_param": "failed", "by_task": "success"} == finished.tasks
    assert message in finished.output
    assert ["by_task"] == [job["tags"]["batchemr:job"] for job in submitted(aws, "sized")]


def test_plan_shows_params_and_what_only_a_run_knows(aws, run_dag, sized):
    """Before the run, and after it."""
    code, jobs, notes = plan(sized)
    assert 0 == code
    (request,) = requests(jobs["by_param"], "SubmitJob")
    assert ("run", 3) == (jobs["by_param"]["does"], jobs["by_param"]["of"])
    assert {"size": 3} == request["arrayProperties"]
    assert {"VCPU": "2", "MEMORY": "512"} == resources(request["containerOverrides"])
    assert {"attemptDurationSeconds": 300} == request["timeout"]
    unknown = "{{ ti.xcom_pull('count') }}"
    assert ("run", f"not known before the run: array ({unknown})") == (
        jobs["by_task"]["does"],
        jobs["by_task"]["note"],
    )
    assert [f'only Airflow can render "{unknown}"'] == notes
    (dag,) = build_dags(sized)
    run_dag(dag)
    code, jobs, _ = plan(sized)
    assert (0, "skip", 3, "skip", 4) == (
        code,
        *(jobs[name][key] for name in ("by_param", "by_task") for key in ("does", "of")),
    )
    assert "new array size" not in jobs["by_task"]["note"]


def test_plan_shows_the_rest_of_a_run_whose_size_only_airflow_knows(aws, run_dag, file, work):
    """From the ledger: the run keeps the size that it began with."""
    command = json.dumps(work.command("[ $i != 1 ]"))
    path = file(f"""
        begun:
          jobs:
            count:
              operator: airflow.providers.standard.operators.bash.BashOperator
              with: {{bash_command: echo 4}}
            work:
              after: count
              array: "{{{{ ti.xcom_pull('count') }}}}"
              batch: {{image: 'a:1', queue: default, command: {command}}}
    """)
    (dag,) = build_dags(path)
    assert "failed" == run_dag(dag).tasks["work"]
    code, jobs, _ = plan(path)
    work = jobs["work"]
    assert (0, "resume", "1", 4) == (code, work["does"], work["indices"], work["of"])
    unknown = "array ({{ ti.xcom_pull('count') }})"
    assert (
        f"not known before the run: {unknown}; this run has begun with 4 indices; 3 of 4 indices are done"
        == work["note"]
    )


def test_plan_shows_defaults_for_resources_that_only_a_run_knows(aws, file):
    """And names them. A value that would be refused by itself is still reported."""
    path = file("""
        unknown:
          jobs:
            work:
              batch:
                {image: 'a:1', queue: default, command: 'true', memory: "{{ ti.xcom_pull('a') }}", vcpus: 2,
                 attempts: "{{ ti.xcom_pull('b') }}"}
            spark:
              emr: {type: m5.xlarge, instances: "{{ ti.xcom_pull('c') }}", log_uri: s3://state/l}
              steps: ['true']
    """)
    code, jobs, _ = plan(path)
    assert (0, "run", "run") == (code, jobs["work"]["does"], jobs["spark"]["does"])
    unknown = "memory ({{ ti.xcom_pull('a') }}), attempts ({{ ti.xcom_pull('b') }})"
    assert f"not known before the run: {unknown}; the requests show the defaults" == jobs["work"]["note"]
    assert {"VCPU": "2"} == resources(requests(jobs["work"], "SubmitJob")[0]["containerOverrides"])
    assert jobs["spark"]["note"].startswith(
        "not known before the run: cluster.instances ({{ ti.xcom_pull('c') }}); the"
    )


def test_plan_refuses_a_wrong_param(aws, file):
    """As the run would."""
    path = file("""
        wrong: {params: {n: 0}, array: "{{ params.n }}", batch: {image: 'a:1', queue: default, command: 'true'}}
    """)
    code, jobs, _ = plan(path)
    assert (1, "refused", "array.size: must be at least 1, not 0") == (
        code,
        jobs["wrong"]["does"],
        jobs["wrong"]["note"],
    )


def described(aws):
    """Release and number of instances by role of each cluster, by the job of its name."""
    emr = aws.client("emr")
    found = {}
    for cluster in emr.list_clusters()["Clusters"]:
        groups = emr.list_instance_groups(ClusterId=cluster["Id"])["InstanceGroups"]
        tags = {tag["Key"]: tag["Value"] for tag in emr.describe_cluster(ClusterId=cluster["Id"])["Cluster"]["Tags"]}
        release = emr.describe_cluster(ClusterId=cluster["Id"])["Cluster"]["ReleaseLabel"]
        found[tags["batchemr:job"]] = (
            release,
            {one["InstanceGroupType"]: one["RequestedInstanceCount"] for one in groups},
        )
    return found


def test_clusters_get_instances_and_release_from_params(aws, run_dag, clusters):
    """What the server received, for a job's own cluster and a shared one; `plan` shows the same requests."""
    code, jobs, _ = plan(clusters)
    assert 0 == code
    for name, task_id, cores in (("own", "own", 2), ("shared.cluster", "shared.create_cluster", 3)):
        (request,) = requests(jobs[task_id], "RunJobFlow")
        assert ("emr-7.4.0", [1, cores]) == (
            request["ReleaseLabel"],
            [one["InstanceCount"] for one in request["Instances"]["InstanceGroups"]],
        ), name
    (dag,) = build_dags(clusters)
    assert "success" == run_dag(dag).state
    assert {
        "own": ("emr-7.4.0", {"MASTER": 1, "CORE": 2}),
        "shared.cluster": ("emr-7.4.0", {"MASTER": 1, "CORE": 3}),
    } == described(aws)


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"nodes": 0}, "cluster.instances: must be at least 1, not 0"),
        ({"release": "7.4.0"}, "cluster.release: expected a release label such as emr-7.5.0, not 7.4.0"),
    ],
)
def test_a_wrong_rendered_value_starts_no_cluster(aws, run_dag, clusters, conf, message):
    """Neither for the job nor for the others."""
    (dag,) = build_dags(clusters)
    finished = run_dag(dag, conf=conf)
    assert {"failed"} == {finished.tasks["own"], finished.tasks["shared.create_cluster"]}
    assert message in finished.output
    assert 0 == aws.requests()["RunJobFlow"]


def rules(pipeline):
    """Accept at most 8 indices: the function of `[batchemr] policy` in the next test."""
    for job in pipeline.jobs.values():
        if job.array and isinstance(job.array.size, int) and job.array.size > 8:
            raise PipelineFileError("at most 8 indices")


def test_a_param_does_not_get_around_the_policy(aws, run_dag, sized, monkeypatch):
    """It is called with the rendered size before anything is submitted."""
    monkeypatch.setenv("AIRFLOW__BATCHEMR__POLICY", f"{__name__}.rules")
    (dag,) = build_dags(sized)
    finished = run_dag(dag, conf={"shards": 9})
    assert {"count": "success", "by_param": "failed", "by_task": "success"} == finished.tasks
    assert "[batchemr] policy: at most 8 indices" in finished.output
    assert "success" == run_dag(dag, conf={"shards": 8}, again=True).state
    assert [8, 4] == [job["arrayProperties"]["size"] for job in submitted(aws, "sized")]


class Array(Task):
    """Tries of an array whose template renders to what the test says."""

    def __init__(self, state, work):
        self.size = "4"
        wait = "while [ -e hold ]; do sleep 0.05; done"
        script = f"{wait}; {{ [ ! -e broken ] || [ $i != 1 ]; }} && [ ! -e all_broken ]"

        def make():
            operator = BatchArrayOperator(
                task_id="work",
                queue="default",
                image="busybox",
                command=work.command(script),
                state=state,
                array="{{ rendered }}",
                aws_conn_id=None,
            )
            operator.array = self.size  # as Airflow does before each execution and resume
            return operator

        super().__init__(make)


@pytest.mark.parametrize("size", ["8", "2"])
def test_a_run_keeps_its_size_although_the_template_renders_differently(aws, state, work, capfd, size):
    """The rest of the indices runs, and the log names both sizes. Later tries of the finished run are skipped."""
    job = Array(state, work)
    (work.folder / "broken").touch()
    with pytest.raises(AirflowException):
        job.try_()
    (work.folder / "broken").unlink()
    job.size = size
    assert 4 == job.try_(try_number=2)["size"]
    assert f"This run started with 4 indices; the new array size ({size}) applies from the next run" in "".join(
        capfd.readouterr()
    )
    assert Counter({0: 1, 1: 2, 2: 1, 3: 1}) == work.ran()
    job.size = "None"  # it does not matter any more
    assert 4 == job.try_(try_number=3)["size"]


def test_a_size_that_changes_during_a_wait_does_not_start_more_indices(aws, state, work):
    """All indices fail, and only the next try uses the new size."""
    job = Array(state, work)
    (work.folder / "all_broken").touch()
    waits = job.begin()
    job.size = "6"
    with pytest.raises(AirflowException, match="4 of 4 indices failed"):
        job.try_(waits)
    assert Counter(range(4)) == work.ran()
    (work.folder / "all_broken").unlink()
    assert 6 == job.try_(try_number=2)["size"]
    assert Counter([*range(4), *range(6)]) == work.ran()


def test_running_work_is_watched_although_the_template_renders_to_nothing(aws, state, work):
    """The XCom of a cleared upstream task has gone. What runs succeeds; nothing more is submitted."""
    job = Array(state, work)
    (work.folder / "hold").touch()
    waits = job.begin()
    job.size = "None"
    (work.folder / "hold").unlink()
    assert 4 == job.try_(waits)["size"]
    assert 1 == aws.requests()["SubmitJob"]


def test_the_rest_of_a_run_is_refused_if_its_size_renders_to_nothing(aws, state, work):
    """A new try has nothing to watch."""
    job = Array(state, work)
    (work.folder / "broken").touch()
    waits = job.begin()
    job.size = "None"
    with pytest.raises(AirflowException, match="1 of 4 indices failed"):
        job.try_(waits)
    with pytest.raises(AirflowFailException, match=r"array.size: the template rendered to None"):
        job.try_(try_number=2)
    assert 1 == aws.requests()["SubmitJob"]


class OwnCluster(Task):
    """Tries of a job on its own cluster, whose number of instances renders to what the test says."""

    def __init__(self, state, folder):
        self.instances = "3"
        script = f"cd {folder}; while [ -e hold ]; do sleep 0.05; done; [ ! -e broken ]"

        def make():
            operator = EphemeralEmrOperator(
                task_id="own",
                cluster={"type": "m5.xlarge", "instances": "{{ rendered }}", "log_uri": "s3://state/l"},
                steps=[["sh", "-c", script]],
                state=state,
                aws_conn_id=None,
                dag=DAG("dag", schedule=None),
            )
            operator.cluster = {**operator.cluster, "instances": self.instances}
            return operator

        super().__init__(make)


def test_a_running_cluster_is_watched_although_its_template_renders_to_nothing(aws, state, work):
    """Its steps succeed; only another cluster would be refused."""
    job = OwnCluster(state, work.folder)
    (work.folder / "hold").touch()
    waits = job.begin()
    job.instances = "None"
    (work.folder / "hold").unlink()
    assert 1 == job.try_(waits)["steps"]
    assert 1 == aws.requests()["RunJobFlow"]


def test_another_cluster_is_refused_if_its_template_renders_to_nothing(aws, state, work):
    """A retry after a failed step needs one."""
    job = OwnCluster(state, work.folder)
    (work.folder / "broken").touch()
    with pytest.raises(AirflowException):
        job.try_()
    job.instances = "None"
    with pytest.raises(AirflowFailException, match=r"cluster.instances: the template rendered to None"):
        job.try_(try_number=2)
    assert 1 == aws.requests()["RunJobFlow"]


def test_mapped_tasks_render_their_own_numbers(aws, run_dag):
    """The templates of the author, in `partial` and in `expand`."""
    with DAG("mapped_templates", schedule=None, params={"cpus": 2, "n": 2, "gib": 1}) as dag:
        BatchArrayOperator.partial(
            task_id="work", job_queue="default", image="busybox", command="true", vcpus="{{ params.cpus }}"
        ).expand_kwargs(
            [{"array": "{{ params.n }}", "memory": "{{ params.gib }}GiB"}, {"array": 3, "memory": ["512", 1024]}]
        )
    assert {"work.0": "success", "work.1": "success"} == run_dag(dag).tasks
    jobs = submitted(aws, "mapped_templates")
    assert [2, 3] == [job["arrayProperties"]["size"] for job in jobs]
    assert [{"VCPU": "2", "MEMORY": "1024"}, {"VCPU": "2", "MEMORY": "512"}] == [
        resources(job["container"]) for job in jobs
    ]


def test_numbers_from_another_task_may_be_text(aws, run_dag, work):
    """As a template of the same XCom would be. Text with a template is data, and is refused."""
    with DAG("text_numbers", schedule=None) as dag:

        @dag.task
        def sizes() -> dict[str, str]:
            return {"array": "2", "vcpus": "2", "wrong": "{{ 1 }}"}

        @dag.task
        def nothing():
            return None

        found = sizes()
        common = {"job_queue": "default", "image": "busybox", "command": work.command("true")}
        BatchArrayOperator(task_id="good", array=found["array"], vcpus=found["vcpus"], **common)
        BatchArrayOperator(task_id="bad", array=found["wrong"], **common)
        BatchArrayOperator(task_id="none", array=nothing(), **common)
    finished = run_dag(dag)
    assert "success" == finished.tasks["good"]
    assert {"failed"} == {finished.tasks["bad"], finished.tasks["none"]}
    assert "array.size: expected a whole number, not {{ 1 }}" in finished.output
    assert "array: expected a number of indices, not None: it is the output of another task" in finished.output
    (job,) = submitted(aws, "text_numbers")
    assert (2, "2") == (job["arrayProperties"]["size"], resources(job["container"])["VCPU"])


def test_operators_of_ordinary_dags_render_instances(aws, run_dag):
    """The same options as in a file."""
    with DAG("ordinary", schedule=None, params={"n": 4}) as dag:
        EphemeralEmrOperator(
            task_id="own",
            cluster={"type": "m5.xlarge", "instances": "{{ params.n }}", "log_uri": "s3://state/l"},
            steps=["true"],
        )
    assert "success" == run_dag(dag).state
    assert {"own": ("emr-7.5.0", {"MASTER": 1, "CORE": 3})} == described(aws)


def test_arrays_that_follow_each_other_need_the_same_rendered_size(aws, run_dag, file, work):
    """AWS's N_TO_N joins the children by index."""
    command = json.dumps(work.command("true"))
    path = file(f"""
        joined:
          params: {{first: 3, second: 3}}
          jobs:
            a: {{array: "{{{{ params.first }}}}", batch: {{image: 'a:1', queue: default, command: {command}}}}}
            b:
              after: {{a: index}}
              array: "{{{{ params.second }}}}"
              batch: {{image: 'a:1', queue: default, command: {command}}}
    """)
    (dag,) = build_dags(path)
    finished = run_dag(dag, conf={"second": 4})
    assert {"a": "success", "b": "failed"} == finished.tasks
    assert "index_of: a has 3 indices in this run, and this job 4" in finished.output
    (dag,) = build_dags(path)  # Airflow's dag.test() stores the conf in the Dag's params
    assert "success" == run_dag(dag, again=True).state
    assert Counter({0: 2, 1: 2, 2: 2}) == work.ran()


def test_validate_knows_the_filters_of_airflow():
    """The check of templates accepts the filters of Jinja and those that Airflow adds, and no others."""
    assert set(AIRFLOW_FILTERS) == set(FILTERS)
