"""Compilation of a pipeline to the plan of its Dag: tasks, edges, trigger rules, arguments."""

from __future__ import annotations

import json
import textwrap

import pytest

from airflow_batchemr.dags.plan import DagPlan, plan_dag
from airflow_batchemr.pipeline_file import load_file

BATCH = "{image: 'etl:1', queue: data, command: run.sh}"


@pytest.fixture
def compiled(tmp_path):
    """`compiled(text)` returns the plan of the only pipeline of a file."""

    def compile_(text):
        path = tmp_path / "p.yaml"
        path.write_text(textwrap.dedent(text).replace("BATCH", BATCH))
        spec = load_file(path)
        assert [str(error) for error in spec.errors] == []
        (pipeline,) = spec.pipelines.values()
        return plan_dag(pipeline)

    return compile_


def edges(plan):
    """Trigger rule and upstream tasks of each task."""
    return {task.task_id: (task.trigger_rule, task.upstream) for task in plan.tasks}


def kwargs(plan, task_id):
    return next(task.kwargs for task in plan.tasks if task.task_id == task_id)


def test_a_pipeline_of_one_job_is_a_dag_of_one_task(compiled):
    """The task has the name of the pipeline. Its arguments are the options of the batch block."""
    plan = compiled("""
        score:
          schedule: '0 13 * * *'
          batch: {definition: 'docker.prd.ace/java8:1', queue: data, command: 'java -cp x.jar', memory: 2GiB}
    """)
    assert edges(plan) == {"score": ("all_success", [])}
    assert kwargs(plan, "score") == {
        "definition": "docker.prd.ace/java8:1",
        "queue": "data",
        "command": ["java", "-cp", "x.jar"],
        "memory": 2048,
    }
    assert plan.dag_kwargs["schedule"] == {"cron": "0 13 * * *"}
    assert plan.dag_kwargs["catchup"] is False


def test_a_cluster_of_a_batch_job_has_setup_and_teardown(compiled):
    """Downstream jobs depend on the job, not on the teardown."""
    plan = compiled(f"""
        p:
          jobs:
            first: {{batch: {BATCH}}}
            transform: {{after: first, emr: {{type: m5.xlarge, instances: 3, log_uri: s3://logs}}, batch: {BATCH}}}
            last: {{after: transform, batch: {BATCH}}}
    """)
    assert edges(plan) == {
        "first": ("all_success", []),
        "transform.create_cluster": ("all_success", ["first"]),
        "transform": ("all_success", ["transform.create_cluster"]),
        "transform.terminate_cluster.after_finished": ("all_done", ["transform.create_cluster", "transform"]),
        "transform.terminate_cluster": (
            "all_done",
            ["transform.create_cluster", "transform.terminate_cluster.after_finished"],
        ),
        "last": ("all_success", ["transform"]),
    }
    tasks = {task.task_id: task for task in plan.tasks}
    assert tasks["transform.create_cluster"].setup
    teardowns = {task.task_id: task.fails_run for task in plan.tasks if task.teardown_of == "transform.create_cluster"}
    assert teardowns == {"transform.terminate_cluster.after_finished": False, "transform.terminate_cluster": True}
    assert kwargs(plan, "transform")["cluster"] == "transform.cluster"
    assert kwargs(plan, "transform.create_cluster")["used_by"] == ["transform"]
    assert kwargs(plan, "transform.create_cluster")["job"] == "transform.cluster"


def test_a_shared_cluster_exists_from_its_first_job_to_its_last(compiled):
    """Its setup follows the upstream jobs of its first job, and its teardown follows all of its jobs."""
    plan = compiled(f"""
        p:
          clusters:
            spark: {{type: m5.xlarge, instances: 4, log_uri: s3://logs}}
          jobs:
            split: {{batch: {BATCH}}}
            a: {{after: split, emr: {{cluster: spark}}, spark: {{py: s3://code/a.py}}}}
            b: {{after: a, emr: {{cluster: spark}}, spark: {{py: s3://code/b.py, requires: {{spark: "3.5"}}}}}}
            end: {{after: b, batch: {BATCH}}}
    """)
    assert kwargs(plan, "spark.create_cluster")["needs"] == {"applications": ["Spark"], "requires": {"spark": "3.5"}}
    assert edges(plan) == {
        "spark.create_cluster": ("all_success", ["split"]),
        "split": ("all_success", []),
        "a": ("all_success", ["split", "spark.create_cluster"]),
        "b": ("all_success", ["a", "spark.create_cluster"]),
        "end": ("all_success", ["b"]),
        "spark.terminate_cluster.after_finished": ("all_done", ["spark.create_cluster", "a", "b"]),
        "spark.terminate_cluster": ("all_done", ["spark.create_cluster", "spark.terminate_cluster.after_finished"]),
    }
    assert kwargs(plan, "spark.create_cluster")["used_by"] == ["a", "b"]
    assert kwargs(plan, "a") == {"cluster": "spark.cluster", "steps": [{"spark": {"py": "s3://code/a.py"}}]}


def test_rules_become_trigger_rules(compiled):
    """`finished` and `failed` are all_done and all_failed in Airflow."""
    plan = compiled("""
        p:
          jobs:
            a: {batch: BATCH}
            b: {batch: BATCH}
            tidy: {after: {a: finished, b: finished}, batch: BATCH}
            mend: {after: {a: failed}, batch: BATCH}
    """)
    assert edges(plan)["tidy"] == ("all_done", ["a", "b"])
    assert edges(plan)["mend"] == ("all_failed", ["a"])


def test_different_rules_of_one_job_get_separate_empty_tasks(compiled):
    """An Airflow task has one trigger rule, so each additional rule gets an empty task."""
    plan = compiled("""
        p:
          jobs:
            a: {batch: BATCH}
            b: {batch: BATCH}
            c: {after: {a: succeeded, b: finished}, batch: BATCH}
    """)
    assert edges(plan)["c.after_finished"] == ("all_done", ["b"])
    assert edges(plan)["c"] == ("all_success", ["a", "c.after_finished"])


def test_a_job_with_the_index_rule_starts_together_with_its_upstream_job(compiled):
    """AWS makes index i wait for index i. Airflow waits only for what the upstream job waits for."""
    plan = compiled("""
        p:
          jobs:
            first: {batch: BATCH}
            split: {after: first, array: 5, batch: BATCH}
            score: {after: {split: index}, array: 5, batch: BATCH}
    """)
    assert edges(plan)["score"] == ("all_success", ["first"])
    assert kwargs(plan, "score")["index_of"] == "split"


def test_load_and_save_become_the_first_and_last_steps(compiled):
    """If HDFS is used in between, a retry starts with the first step."""
    plan = compiled("""
        p:
          emr: {type: m5.xlarge, instances: 2, log_uri: s3://logs}
          load: {source: s3://in, destination: 'hdfs:///in'}
          spark: {class: com.example.Main, jar: s3://code/x.jar}
          save: {source: 'hdfs:///out', destination: s3://out}
    """)
    given = kwargs(plan, "p")
    assert given["steps"] == [
        {"copy": {"source": "s3://in", "destination": "hdfs:///in"}},
        {"spark": {"class": "com.example.Main", "jar": "s3://code/x.jar"}},
        {"copy": {"source": "hdfs:///out", "destination": "s3://out"}},
    ]
    assert given["resume_steps"] is False


def test_airflow_options_are_passed_to_the_operator(compiled):
    """Retries, pool, priority, worker queue and assets. Omitted options are not passed."""
    plan = compiled("""
        p:
          state: s3://ledger/x
          retries: 3
          retry_delay: 2m
          retry_backoff: 3
          pool: aws
          priority: 7
          worker_queue: big
          outputs: s3://data/out
          batch: BATCH
    """)
    assert kwargs(plan, "p") == {
        "image": "etl:1",
        "queue": "data",
        "command": ["run.sh"],
        "state": "s3://ledger/x",
        "retries": 3,
        "retry_delay": 120,
        "retry_exponential_backoff": 3.0,
        "pool": "aws",
        "priority_weight": 7,
        "worker_queue": "big",
        "outlets": ["s3://data/out"],
    }


def test_the_rerun_param_offers_the_jobs_of_the_dag(compiled):
    """The trigger form shows them as choices, and rejects others."""
    plan = compiled("""
        p:
          jobs:
            a: {batch: BATCH}
            b: {after: a, batch: BATCH}
    """)
    rerun = plan.dag_kwargs["params"]["rerun"]
    assert rerun["default"] == []
    assert ["a", "b"] == rerun["items"]["enum"] == rerun["examples"]


def test_any_operator_gets_its_arguments_unchanged(compiled):
    """No arguments are added."""
    plan = compiled("""
        p:
          jobs:
            wait: {operator: airflow.providers.standard.operators.bash.BashOperator, with: {bash_command: 'true'}}
    """)
    assert kwargs(plan, "wait") == {"bash_command": "true"}


def test_a_plan_can_be_serialized_as_json(compiled):
    """It only contains plain values: loading the dump gives the same plan."""
    plan = compiled("""
        p:
          schedule: {after_assets: [s3://a, {any: [s3://b, s3://c]}]}
          start_date: 2026-11-01
          params: {day: {type: string, default: x}}
          notify: {email: team@example.com}
          emr: {type: m5.xlarge, instances: 2, log_uri: s3://logs}
          batch: BATCH
    """)
    assert plan == DagPlan.of(json.loads(json.dumps(plan.values())))


def test_a_pause_comes_before_all_jobs_of_a_continuous_pipeline(compiled):
    """Airflow starts the next run when the last one has ended; its first task waits."""
    plan = compiled("""
        p:
          schedule: {continuous: {pause: 20m}}
          jobs:
            a: {batch: BATCH}
            b: {after: a, batch: BATCH}
    """)
    assert edges(plan) == {
        "pause": ("all_success", []),
        "a": ("all_success", ["pause"]),
        "b": ("all_success", ["a"]),
    }
    assert kwargs(plan, "pause") == {"seconds": 1200}
    assert plan.dag_kwargs["max_active_runs"] == 1
    assert plan.dag_kwargs["start_date"] == "2000-01-01T00:00:00"


def test_a_run_terminates_earlier_runs_first(compiled):
    """With `overlap: terminate`, one task precedes all jobs and cluster setups."""
    plan = compiled("""
        p:
          overlap: terminate
          state: s3://ledger/x
          emr: {type: m5.xlarge, instances: 2, log_uri: s3://logs}
          batch: BATCH
    """)
    assert edges(plan) == {
        "stop_earlier_runs": ("all_success", []),
        "p.create_cluster": ("all_success", ["stop_earlier_runs"]),
        "p": ("all_success", ["p.create_cluster"]),
        "p.terminate_cluster.after_finished": ("all_done", ["p.create_cluster", "p"]),
        "p.terminate_cluster": ("all_done", ["p.create_cluster", "p.terminate_cluster.after_finished"]),
    }
    assert kwargs(plan, "stop_earlier_runs") == {"state": "s3://ledger/x"}


def test_overlap_wait_limits_active_runs_to_one(compiled):
    """Airflow starts a run when the previous one has ended."""
    plan = compiled("p: {overlap: wait, batch: BATCH}")
    assert plan.dag_kwargs["max_active_runs"] == 1


def test_cluster_tasks_have_the_retries_of_their_jobs_and_teardowns_at_least_three(compiled):
    """If a worker dies while it terminates a cluster, the task is retried, whatever the file says."""
    plan = compiled(f"""
        p:
          clusters:
            spark: {{type: m5.xlarge, instances: 4, log_uri: s3://logs}}
          jobs:
            a: {{emr: {{cluster: spark}}, spark: {{py: s3://code/a.py}}}}
            b: {{emr: {{cluster: spark}}, spark: {{py: s3://code/b.py}}, retries: 1, retry_delay: 5m, pool: emr}}
            own: {{emr: {{type: m5.xlarge, instances: 3}}, batch: {BATCH}, retries: 5, retry_delay: 10m}}
            once: {{emr: {{type: m5.xlarge, instances: 3}}, batch: {BATCH}, retries: 0}}
    """)
    tries = {
        task.task_id: (task.kwargs.get("retries"), task.kwargs.get("retry_delay"), task.kwargs.get("pool"))
        for task in plan.tasks
        if task.task_id.endswith("_cluster")
    }
    assert {
        "spark.create_cluster": (None, None, None),  # the operator's default, used by job a, is more than that of b
        "spark.terminate_cluster": (3, 60, None),
        "own.create_cluster": (5, 600, None),
        "own.terminate_cluster": (5, 600, None),
        "once.create_cluster": (0, None, None),
        "once.terminate_cluster": (3, 60, None),
    } == tries


def test_a_job_without_retries_leaves_them_to_its_operator(compiled):
    """The operator distinguishes failures of platform and program only without `retries`."""
    plan = compiled(f"p: {{jobs: {{none: {{batch: {BATCH}}}, zero: {{batch: {BATCH}, retries: 0}}}}}}")
    assert "retries" not in kwargs(plan, "none")
    assert kwargs(plan, "zero")["retries"] == 0
