"""Invalid input fails the task before a cluster starts."""

from __future__ import annotations

import re

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from airflow_batchemr.aws.emr.options import needs_options
from airflow_batchemr.operators.emr import EmrCreateClusterOperator, EphemeralEmrOperator

SPARK = {"py": "s3://code/x.py"}
GROUPS = {"master": {"type": "m5.xlarge"}}
FLEETS = {"fleets": {"master": {"types": ["m5.xlarge"], "on_demand": 1}}}
#: name: options of the cluster, steps, part of the message
CASES = {
    "groups_and_fleets": ({**GROUPS, **FLEETS}, ["x"], "`fleets` and `master` cannot be combined"),
    "no_core_to_scale": (
        {**GROUPS, "managed_scaling": {"minimum": 1, "maximum": 2}},
        ["x"],
        "`managed_scaling` requires core instances to scale",
    ),
    "task_without_core": ({**GROUPS, "task": {"type": "m5.xlarge"}}, ["x"], "a `task` group requires a `core` group"),
    "bid_no_number": (
        {"type": "m5.xlarge", "instances": 3, "market": "spot", "bid": "cheap"},
        ["x"],
        "expected a price in dollars per hour such as 0.07, not cheap",
    ),
    "unknown_application": (
        {"type": "m5.xlarge", "applications": ["Sparc"]},
        ["x"],
        "emr-7.5.0 has no application Sparc; did you mean Spark?",
    ),
    "no_such_release": ({"type": "m5.xlarge", "release": "emr-9.9.0"}, ["x"], "EMR has no release emr-9.9.0"),
    "requires_other_spark": ({"type": "m5.xlarge", "requires": {"spark": "4.0"}}, ["x"], "has spark 3.5"),
    "step_requires_other": ({"type": "m5.xlarge"}, [{"spark": {**SPARK, "requires": {"hadoop": "2"}}}], "has hadoop 3"),
    "no_steps": ({"type": "m5.xlarge"}, [], "the list of steps is empty"),
    "empty_command": ({"type": "m5.xlarge"}, [""], "steps[0].command: the command is empty"),
    "no_type": ({}, ["x"], "the cluster has no instances"),
    "unknown_word": ({"type": "m5.xlarge", "instnaces": 3}, ["x"], "cluster.instnaces"),
    "unknown_override": ({"type": "m5.xlarge", "overrides": {"LogURI": "s3://x/"}}, ["x"], "LogURI"),
    "wrong_override": ({"type": "m5.xlarge", "overrides": {"ScaleDownBehavior": "NOW"}}, ["x"], "ScaleDownBehavior"),
    "overridden_name": (
        {"type": "m5.xlarge", "overrides": {"Name": "nightly"}},
        ["x"],
        "cluster.overrides.Name: `Name` cannot be overridden",
    ),
    "overridden_tags": ({"type": "m5.xlarge", "overrides": {"Tags": []}}, ["x"], "cluster.overrides.Tags"),
    "overridden_steps": ({"type": "m5.xlarge", "overrides": {"Steps": []}}, ["x"], "cluster.overrides.Steps"),
    "raw_action": (
        {"type": "m5.xlarge"},
        [{"raw": {"ActionOnFailure": 5, "HadoopJarStep": {"Jar": "x.jar"}}}],
        "steps[0].raw.ActionOnFailure: expected one of TERMINATE_JOB_FLOW, ",
    ),
    "raw_action_unknown": (
        {"type": "m5.xlarge"},
        [{"raw": {"ActionOnFailure": "STOP", "HadoopJarStep": {"Jar": "x.jar"}}}],
        "CONTINUE, not STOP",
    ),
    "action_with_concurrency": (
        {"type": "m5.xlarge", "step_concurrency": 2},
        [{"command": "x", "on_failure": "terminate_cluster"}],
        "with step_concurrency 2 EMR accepts only `continue`",
    ),
    "python_env_missing": ({"type": "m5.xlarge"}, [{"spark": {**SPARK, "python_env": "no-such.txt"}}], "no-such.txt"),
    "python_env_not_in_s3": (
        {"type": "m5.xlarge"},
        [{"spark": {**SPARK, "python_env": "env.tar.gz"}}],
        "a packed environment has to be in S3",
    ),
    "python_env_archive_missing": (
        {"type": "m5.xlarge"},
        [{"spark": {**SPARK, "python_env": "s3://state/none.tar.gz"}}],
        "there is no s3://state/none.tar.gz",
    ),
    "names_another": ({"cluster_id": "j-1234"}, ["x"], "it names an existing cluster"),
}
#: Cases that are found when the Dag is parsed.
EARLY = {
    "groups_and_fleets",
    "no_core_to_scale",
    "task_without_core",
    "bid_no_number",
    "no_steps",
    "empty_command",
    "no_type",
    "unknown_word",
    "unknown_override",
    "wrong_override",
    "overridden_name",
    "overridden_tags",
    "overridden_steps",
    "raw_action",
    "raw_action_unknown",
    "names_another",
}


@pytest.mark.parametrize("name", sorted(EARLY))
def test_a_wrong_option_fails_when_the_dag_is_parsed(name):
    """With the message of the pipeline file."""
    cluster, steps, message = CASES[name]
    with pytest.raises(AirflowFailException, match=re.escape(message)):
        EphemeralEmrOperator(task_id="work", cluster=cluster, steps=steps)


@pytest.mark.parametrize("name", sorted(set(CASES) - EARLY))
def test_bad_input_fails_the_task_before_a_cluster_starts(aws, run_dag, name):
    """The task fails without retries, and nothing is claimed."""
    cluster, steps, message = CASES[name]
    with DAG(f"bad_emr_{name}", schedule=None) as dag:
        EphemeralEmrOperator(task_id="work", cluster=cluster, steps=steps, retries=3)
    finished = run_dag(dag)
    assert {"work": "failed"} == finished.tasks
    assert message in finished.output
    assert 0 == aws.requests()["RunJobFlow"]
    assert 0 == aws.requests()["PutObject"]


def test_shared_cluster_is_checked_before_it_starts(aws, run_dag):
    """By its setup task."""
    with DAG("bad_shared", schedule=None) as dag:
        EmrCreateClusterOperator(task_id="up", job="x.cluster", cluster={"type": "m5.xlarge", "release": "emr-9.9.0"})
    finished = run_dag(dag)
    assert {"up": "failed"} == finished.tasks
    assert "EMR has no release emr-9.9.0" in finished.output
    assert 0 == aws.requests()["RunJobFlow"]


@pytest.mark.parametrize(
    ("needs", "message"),
    [
        ({"application": "Spark"}, "needs.application: .*did you mean `applications`"),
        (["Spark"], "needs: "),
        ({"requires": "3.5"}, "needs.requires: "),
    ],
)
def test_wrong_needs_fail_when_the_dag_is_parsed(needs, message):
    """The message names the argument."""
    with pytest.raises(AirflowFailException, match=message):
        EmrCreateClusterOperator(task_id="up", job="x.cluster", cluster={"type": "m5.xlarge"}, needs=needs)


def test_a_single_text_is_a_list_of_one():
    """It is not split into letters."""
    operator = EmrCreateClusterOperator(
        task_id="up",
        job="x.cluster",
        cluster={"type": "m5.xlarge"},
        used_by="transform",
        needs={"applications": "Hive"},
    )
    assert ["transform"] == operator.used_by
    assert ["Hive"] == needs_options(operator.needs).applications
