"""The policy applies to options that templates provide, too."""

from __future__ import annotations

import json

import pytest

from airflow_batchemr.aws.batch.options import array_options, batch_options
from airflow_batchemr.aws.emr.options import cluster_options
from airflow_batchemr.core.errors import InvalidRequest
from airflow_batchemr.dags.rendered_policy import RenderedPolicy
from airflow_batchemr.pipeline_file import PipelineFileError, apply_policy, load_file

BATCH = {"image": "i:1", "queue": "q", "command": "c"}
CLUSTER = {"type": "m5.xlarge", "log_uri": "s3://l/"}
JOBS = {
    "work": {"array": "{{ params.n }}", "batch": {**BATCH, "vcpus": "{{ params.cpus }}"}, "env": {"A": "1"}},
    "fixed": {"array": 4, "batch": {**BATCH, "vcpus": 2}},
    "own": {"emr": {**CLUSTER, "instances": "{{ params.n }}"}, "steps": ["hostname"]},
    "steps": {"emr": {"cluster": "shared"}, "steps": ["hostname"]},
    "beside": {"emr": {**CLUSTER, "release": "{{ params.release }}"}, "batch": BATCH},
}
SHARED = {"log_uri": "s3://l/", "master": {"type": "m5.xlarge"}, "core": {"type": "m5.xlarge", "count": "{{ ti.x }}"}}


def pipeline(tmp_path, policy):
    path = tmp_path / "p.yaml"
    params = {"n": 1, "cpus": 1, "release": "emr-7.5.0"}
    path.write_text(json.dumps({"p": {"params": params, "clusters": {"shared": SHARED}, "jobs": JOBS}}))
    spec = load_file(path)
    apply_policy(spec, policy)
    assert not spec.errors
    assert policy is spec.policy
    return spec.pipelines["p"]


def small(pipeline):
    """At most 16 vCPUs, 100 indices and 10 instances; templates are left for later."""
    for job in pipeline.jobs.values():
        if job.batch and isinstance(job.batch.vcpus, int) and job.batch.vcpus > 16:
            raise PipelineFileError("at most 16 vCPUs", "ask the platform team")
        if job.array and isinstance(job.array.size, int) and job.array.size > 100:
            raise ValueError("too many indices")
        if job.emr and isinstance(job.emr.instances, int) and job.emr.instances > 10:
            raise PipelineFileError("at most 10 instances")
    for cluster in pipeline.clusters.values():
        if isinstance(cluster.core.count, int) and cluster.core.count > 10:
            raise PipelineFileError("at most 10 instances")


def batch(given, size=4, **options):
    return given.batch(batch_options({**BATCH, **options}, rendered=True), array_options(size, rendered=True))


def test_a_rendered_value_is_checked(tmp_path):
    """The message is the policy's, with its hint; anything else that it raises is refused as well."""
    work = RenderedPolicy.of(small, pipeline(tmp_path, small), "work")
    options, array = batch(work, vcpus="16", env={"B": "2"})
    assert (16, {"size": 4}, {"B": "2"}) == (options.vcpus, array, options.env)
    with pytest.raises(InvalidRequest, match=r"^\[batchemr\] policy: at most 16 vCPUs \(ask the platform team\)$"):
        batch(work, vcpus="17")
    with pytest.raises(InvalidRequest, match=r"^\[batchemr\] policy: ValueError: too many indices$"):
        batch(work, size="101")


@pytest.mark.parametrize(
    ("task_id", "good", "bad"),
    [
        ("own", {**CLUSTER, "instances": "10"}, {**CLUSTER, "instances": "11"}),
        (
            "shared.create_cluster",
            {**SHARED, "core": {"type": "m5.xlarge", "count": "10"}},
            {**SHARED, "core": {"type": "m5.xlarge", "count": "11"}},
        ),
        ("beside.create_cluster", CLUSTER, {**CLUSTER, "instances": "11"}),
    ],
)
def test_a_rendered_cluster_is_checked(tmp_path, task_id, good, bad):
    """A job's own cluster, a shared one, and one beside a Batch job."""
    policy = RenderedPolicy.of(small, pipeline(tmp_path, small), task_id)
    options = cluster_options(good, rendered=True)
    assert options == policy.cluster(options)
    with pytest.raises(InvalidRequest, match="at most 10 instances"):
        policy.cluster(cluster_options(bad, rendered=True))


def test_only_tasks_with_templates_are_checked_again(tmp_path):
    """Literal values have been checked when the file was read."""
    of = pipeline(tmp_path, small)
    tasks = ("work", "fixed", "own", "steps", "beside", "beside.create_cluster", "shared.create_cluster", "stop")
    checked = [task_id for task_id in tasks if RenderedPolicy.of(small, of, task_id) is not None]
    assert ["work", "own", "beside", "beside.create_cluster", "shared.create_cluster"] == checked
    assert RenderedPolicy.of(None, of, "work") is None


def capped(pipeline):
    """Reduces vCPUs and the number of core instances, and adds a tag each time that it is called."""

    def job(one):
        if one.batch is None:
            return one
        vcpus = min(one.batch.vcpus or 1, 8) if not isinstance(one.batch.vcpus, str) else one.batch.vcpus
        tags = {**one.batch.tags, f"policy{len(one.batch.tags)}": "yes"}
        return one.model_copy(update={"batch": one.batch.model_copy(update={"vcpus": vcpus, "tags": tags})})

    def cluster(one):
        count = one.core.count if isinstance(one.core.count, str) else min(one.core.count, 8)
        return one.model_copy(update={"core": one.core.model_copy(update={"count": count})})

    jobs = {name: job(one) for name, one in pipeline.jobs.items()}
    return pipeline.model_copy(
        update={"jobs": jobs, "clusters": {name: cluster(one) for name, one in pipeline.clusters.items()}}
    )


def test_the_policy_changes_rendered_values(tmp_path):
    """Only options that may be templates: it has changed all others when the file was read."""
    of = pipeline(tmp_path, capped)
    options, _ = batch(RenderedPolicy.of(capped, of, "work"), vcpus="32", tags=dict(of.jobs["work"].batch.tags))
    assert (8, {"policy0": "yes"}) == (options.vcpus, options.tags)
    shared = RenderedPolicy.of(capped, of, "shared.create_cluster")
    rendered = cluster_options({**SHARED, "core": {"type": "m5.xlarge", "count": "9"}}, rendered=True)
    assert 8 == shared.cluster(rendered).core.count
