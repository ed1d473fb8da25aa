"""Templates of numbers and releases: accepted in a file, and checked by the same model after rendering."""

from __future__ import annotations

import json
import warnings

import jsonschema
import pytest

from airflow_batchemr.aws.batch.options import array_options, batch_options
from airflow_batchemr.aws.emr.options import cluster_options
from airflow_batchemr.aws.errors import InvalidRequest
from airflow_batchemr.dags.plan import plan_dag
from airflow_batchemr.forecast import forecast_pipeline
from airflow_batchemr.forecast.templates import without_unknown
from airflow_batchemr.pipeline_file import load_file, models
from airflow_batchemr.pipeline_file.json_schema import json_schema, models_of
from airflow_batchemr.pipeline_file.models.base import templated_keys

TEMPLATE = "{{ params.x }}"
BATCH = {"image": "i:1", "queue": "q", "command": "c"}
CLUSTER = {"type": "m5.xlarge", "log_uri": "s3://l/"}
MASTER = {"type": "m5.xlarge"}
GROUP = {"InstanceRole": "CORE", "InstanceType": "x"}
FLEETS = {"master": {"types": ["m5.xlarge"]}}


def fleet(**targets):
    return {"log_uri": "s3://l/", "fleets": {**FLEETS, "core": {"types": ["m5.xlarge"], **targets}}}


def batch(key):
    return lambda value: {"batch": {**BATCH, key: value}}


def rendered_batch(key):
    def of(value):
        value = getattr(batch_options({**BATCH, key: value}, rendered=True), key)
        return value[0] if key == "memory" else value

    return of


def cluster(make, get):
    def job(value):
        return {"emr": make(value), "steps": ["hostname"]}

    return job, lambda value: get(cluster_options(make(value), rendered=True))


PACK = {"pack": "s3://data/"}
#: For each option: a job of a file with a value, the checked value after rendering; then texts with the values that
#: they mean, and texts with the reason for which they are refused.
OPTIONS = {
    "Array.size": (
        lambda value: {"array": {"size": value}, "batch": BATCH},
        lambda value: array_options({"size": value}, rendered=True)["size"],
        {"10": 10, " 10\n": 10, "1": 1},
        {
            "0": "array.size: must be at least 1, not 0",
            "1000001": "array.size: must be at most 1,000,000, not 1000001",
            "2.5": "array.size: expected a whole number, not 2.5",
            "abc": "array.size: expected a whole number, not abc",
        },
    ),
    "array": (
        lambda value: {"array": value, "batch": BATCH},
        lambda value: array_options(value, rendered=True)["size"],
        {"10": 10},
        {"-1": "array.size: must be at least 1, not -1", "ten": "array.size: expected a whole number, not ten"},
    ),
    "Array.into": (
        lambda value: {"array": {**PACK, "into": value}, "batch": BATCH},
        lambda value: array_options({**PACK, "into": value}, rendered=True)["into"],
        {"3": 3},
        {"0": "array.into: must be at least 1, not 0"},
    ),
    "Batch.vcpus": (
        batch("vcpus"),
        rendered_batch("vcpus"),
        {"2": 2, "2.0": 2},
        {"0": "vcpus: expected a number of vCPUs above 0, not 0", "two": "vcpus: expected a number of vCPUs above 0"},
    ),
    "Batch.memory": (
        batch("memory"),
        rendered_batch("memory"),
        {"8GiB": 8192, "512": 512},
        {
            "lots": "memory[0]: expected a size like 8GiB or 512MiB, not 'lots'",
            "3": "memory: AWS Batch requires at least 4 MiB of memory, not 3",
            "8GB": "memory[0]: 8GB is 7629.4 MiB",
        },
    ),
    "Batch.gpus": (batch("gpus"), rendered_batch("gpus"), {"1": 1}, {"0": "gpus: must be at least 1, not 0"}),
    "Batch.attempts": (
        batch("attempts"),
        rendered_batch("attempts"),
        {"10": 10},
        {"11": "attempts: must be at most 10, not 11", "True": "attempts: expected a whole number, not True"},
    ),
    "Batch.timeout": (
        batch("timeout"),
        rendered_batch("timeout"),
        {"90": 90, "2h": 7200},
        {"59": "timeout: AWS Batch takes a timeout of at least 60 seconds, not 59", "soon": "timeout: expected a dur"},
    ),
    "Batch.runnable_timeout": (
        batch("runnable_timeout"),
        rendered_batch("runnable_timeout"),
        {"15m": 900},
        {"-1": "runnable_timeout: a duration must lie between 0 and 10 years, not -1"},
    ),
    "Emr.instances": (
        *cluster(lambda value: {**CLUSTER, "instances": value}, lambda emr: emr.instances),
        {"4": 4},
        {"0": "cluster.instances: must be at least 1, not 0", "4001": "cluster.instances: must be at most 4,000"},
    ),
    "Emr.release": (
        *cluster(lambda value: {**CLUSTER, "release": value}, lambda emr: emr.release),
        {"emr-7.5.0": "emr-7.5.0"},
        {"7.5.0": "cluster.release: expected a release label such as emr-7.5.0, not 7.5.0", "7.5": "not 7.5"},
    ),
    "Group.count": (
        *cluster(
            lambda value: {"log_uri": "s3://l/", "master": MASTER, "core": {**MASTER, "count": value}},
            lambda emr: emr.core.count,
        ),
        {"5": 5},
        {"0": "cluster.core.count: must be at least 1, not 0"},
    ),
    "Group.count of the master": (
        *cluster(
            lambda value: {"log_uri": "s3://l/", "master": {**MASTER, "count": value}, "core": MASTER},
            lambda emr: emr.master.count,
        ),
        {"3": 3},
        {"2": "cluster.master.count: a cluster has 1 or 3 masters, not 2"},
    ),
    "Fleet.on_demand": (
        *cluster(lambda value: fleet(on_demand=value), lambda emr: emr.fleets.core.on_demand),
        {"7": 7},
        {"0": "cluster.fleets.core: a fleet requires a target capacity", "-1": "must be at least 0, not -1"},
    ),
    "Fleet.spot": (
        *cluster(lambda value: fleet(spot=value), lambda emr: emr.fleets.core.spot),
        {"7": 7},
        {"few": "cluster.fleets.core.spot: expected a whole number, not few"},
    ),
    "Fleet.on_demand of the master": (
        *cluster(
            lambda value: {"log_uri": "s3://l/", "fleets": {"master": {"types": ["m5.xlarge"], "on_demand": value}}},
            lambda emr: emr.fleets.master.on_demand,
        ),
        {"1": 1},
        {"2": "cluster.fleets.master.on_demand: a master fleet has 1 on-demand"},
    ),
}
ALL = pytest.mark.parametrize("option", OPTIONS)


def loaded(tmp_path, job):
    """The file `{p: job}`, which has to agree with the JSON Schema."""
    path = tmp_path / "p.yaml"
    data = {"p": {"params": {"x": 1}, **job}}
    path.write_text(json.dumps(data))
    spec = load_file(path)
    errors = list(jsonschema.Draft202012Validator(json_schema()).iter_errors(data))
    assert bool(errors) == bool(spec.errors)
    return spec


def test_every_option_is_tested():
    """A new option that accepts templates needs a line above."""
    found = {f"{name}.{key}" for name, model in models_of(models.Pipeline).items() for key in templated_keys(model)}
    assert found == {option.partition(" ")[0] for option in OPTIONS} - {"array"}


@ALL
def test_a_template_reaches_the_operator_unchanged(tmp_path, option):
    """Airflow renders it; the plan of the Dag contains its text, without pydantic's warnings."""
    job, *_ = OPTIONS[option]
    spec = loaded(tmp_path, job(TEMPLATE))
    assert [] == [str(error) for error in (*spec.errors, *spec.warnings)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (task,) = plan_dag(spec.pipelines["p"]).tasks
    assert TEMPLATE in json.dumps(task.kwargs)


@ALL
def test_a_rendered_value_means_the_same_as_a_literal_one(option):
    """Text such as 10 is a number, and units are accepted."""
    _, rendered, good, _ = OPTIONS[option]
    assert good == {text: rendered(text) for text in good}
    assert list(good.values())[0] == rendered(list(good.values())[0])  # noqa: RUF015 - the same as an output of a task


@ALL
def test_a_wrong_rendered_value_is_refused(option):
    """The message names the option, the value and the rule. A value that contains a template was not rendered."""
    _, rendered, _, wrong = OPTIONS[option]
    for text, message in wrong.items():
        with pytest.raises(InvalidRequest) as caught:
            rendered(text)
        assert message in str(caught.value)
        assert "quotes" not in str(caught.value)
    for text in ("", "  ", "None", TEMPLATE):
        with pytest.raises(InvalidRequest):
            rendered(text)


def test_a_value_that_renders_to_nothing_is_refused():
    """It is not the same as leaving the option out."""
    with pytest.raises(InvalidRequest, match=r"^vcpus: the template rendered to None \(give it a value, such as"):
        batch_options({**BATCH, "vcpus": "None"}, rendered=True)
    with pytest.raises(InvalidRequest, match=r"^array.size: the template rendered to nothing"):
        array_options("", rendered=True)


@ALL
def test_literal_values_are_checked_as_before(tmp_path, option):
    """Numbers in quotes are errors of a file, except for durations and sizes."""
    job, _, good, wrong = OPTIONS[option]
    for value in {*good.values()}:
        assert not loaded(tmp_path, job(value)).errors
    for text in wrong:
        assert load_file_errors(tmp_path, job(text))


def load_file_errors(tmp_path, job):
    path = tmp_path / "p.yaml"
    path.write_text(json.dumps({"p": job}))
    return load_file(path).errors


FARGATE = {"platform": "fargate", "execution_role": "r", "memory": "9GiB"}


@pytest.mark.parametrize(
    ("options", "key", "value", "message"),
    [
        (FARGATE, "vcpus", "1", "Fargate does not support 9216 MiB of memory with 1 vCPU"),
        (FARGATE, "vcpus", "3", "Fargate supports 0.25, 0.5, 1, 2, 4, 8, 16, 32 vCPUs, not 3"),
        ({**FARGATE, "vcpus": 1}, "memory", "10GiB", "Fargate does not support 10240 MiB of memory with 1 vCPU"),
        ({"platform": "ec2"}, "vcpus", "0.5", "EC2 requires whole vCPUs, not 0.5"),
        ({}, "memory", ["8GiB", "4GiB"], "memory sizes must be in ascending order"),
        ({"retry_on": "oom"}, "attempts", "1", "`retry_on` requires more than 1 attempt"),
    ],
)
def test_rendered_values_are_checked_together(tmp_path, options, key, value, message):
    """As in a file; there, a template that may fit is accepted."""
    with pytest.raises(InvalidRequest, match=message):
        batch_options({**BATCH, **options, key: value}, rendered=True)
    unknown = [TEMPLATE, *value[1:]] if isinstance(value, list) else TEMPLATE
    assert not load_file_errors(tmp_path, {"batch": {**BATCH, **options, key: unknown}})


def test_arrays_that_follow_each_other_may_have_templates(tmp_path):
    """Two literal sizes must be equal; whether templates render to the same size is checked when the task runs."""
    second = {"after": {"a": "index"}, "batch": BATCH}
    for size, fits in ((4, True), (5, False), (TEMPLATE, True)):
        jobs = {"a": {"array": 4, "batch": BATCH}, "b": {**second, "array": size}}
        assert fits == (not load_file_errors(tmp_path, {"jobs": jobs}))


def test_the_dag_shows_the_template_of_a_size(tmp_path):
    """Its number of indices is not known yet."""
    spec = loaded(tmp_path, {"array": TEMPLATE, "batch": BATCH})
    assert "AWS Batch, `{{ params.x }}` indices" in plan_dag(spec.pipelines["p"]).dag_kwargs["doc_md"]


def test_only_typed_options_count_as_unknown():
    """Text that only Airflow can render is part of a request as it is."""
    kwargs = {
        "vcpus": TEMPLATE,
        "memory": ["4GiB", TEMPLATE],
        "command": ["run", TEMPLATE],
        "array": {"size": TEMPLATE, "markers": "in_job"},
        "cluster": {"release": TEMPLATE, "core": {"count": TEMPLATE}, "tags": {"count": TEMPLATE}, "type": "m5.xlarge"},
    }
    known, unknown = without_unknown(kwargs)
    assert {
        "command": ["run", TEMPLATE],
        "array": {"markers": "in_job"},
        "cluster": {"core": {}, "tags": {"count": TEMPLATE}, "type": "m5.xlarge"},
    } == known
    assert {
        "vcpus": TEMPLATE,
        "memory": f"4GiB, {TEMPLATE}",
        "array.size": TEMPLATE,
        "cluster.release": TEMPLATE,
        "cluster.core.count": TEMPLATE,
    } == unknown


@pytest.mark.parametrize(
    ("of", "value", "expected"),
    [
        ("batch", {"retryStrategy": {"attempts": "3"}}, {"retryStrategy": {"attempts": 3}}),
        ("batch", {"propagateTags": "False"}, {"propagateTags": False}),
        ("batch", {"tags": {"a": "3"}}, {"tags": {"a": "3"}}),
        ("emr", {"StepConcurrencyLevel": " 4\n"}, {"StepConcurrencyLevel": 4}),
        ("emr", {"Instances": {"InstanceGroups": [GROUP | {"InstanceCount": "2"}]}},
         {"Instances": {"InstanceGroups": [GROUP | {"InstanceCount": 2}]}}),
    ],
)  # fmt: skip
def test_numbers_in_aws_own_form_may_be_templates(of, value, expected):
    """Airflow renders them to text, also in `submit:` and `overrides:`."""

    def options(value):
        if of == "batch":
            return batch_options({**BATCH, "submit": value}, rendered=True).submit
        return cluster_options({**CLUSTER, "overrides": value}, rendered=True).overrides

    assert expected == options(value)
    assert expected == options(expected)


def test_text_in_the_place_of_a_number_is_refused(tmp_path):
    """Also after rendering."""
    submit = {"retryStrategy": {"attempts": "several"}}
    with pytest.raises(InvalidRequest, match=r"submit.retryStrategy.attempts: expected a whole number, not several"):
        batch_options({**BATCH, "submit": submit}, rendered=True)
    (error,) = load_file_errors(tmp_path, {"batch": {**BATCH, "submit": {"retryStrategy": {"attempts": "3"}}}})
    assert "expected a whole number" in error.message


def test_a_number_that_only_airflow_can_render_is_unknown_in_aws_own_form():
    """The requests in a plan then have none."""
    known, unknown = without_unknown(
        {
            "submit": {"retryStrategy": {"attempts": TEMPLATE}, "tags": {"a": TEMPLATE}},
            "cluster": {"overrides": {"StepConcurrencyLevel": TEMPLATE, "AutoScalingRole": None}},
        }
    )
    assert {
        "submit": {"retryStrategy": {}, "tags": {"a": TEMPLATE}},
        "cluster": {"overrides": {"AutoScalingRole": None}},
    } == known
    assert {"submit": TEMPLATE, "cluster.overrides": TEMPLATE} == unknown


def test_a_param_without_a_default_is_not_known_in_a_plan(tmp_path):
    """The run has to give a value; it is not None."""
    batch = {**BATCH, "memory": "{{ params.n }}", "env": {"N": "{{ params['n'] }}"}}
    path = tmp_path / "p.yaml"
    path.write_text(json.dumps({"p": {"params": {"n": {"title": "n"}}, "batch": batch}}))
    (job,) = [
        one
        for one in forecast_pipeline(load_file(path).pipelines["p"], folder=tmp_path, run_id="m").jobs
        if one.requests
    ]
    assert "not known before the run: memory ({{ params.n }})" in job.note
    environment = job.requests[-1]["request"]["containerOverrides"]["environment"]
    assert {"name": "N", "value": "{{ params['n'] }}"} in environment


@pytest.mark.parametrize(
    "batch",
    [{"tags": {"team": TEMPLATE}}, {"submit": {"eksPropertiesOverride": {"podProperties": {"containers": TEMPLATE}}}}],
)
def test_text_that_is_not_known_does_not_make_a_plan_refuse_a_job(tmp_path, batch):
    """AWS accepts no braces in tags, and the run will have none; a value that is known is checked."""
    path = tmp_path / "p.yaml"

    def planned(params):
        path.write_text(json.dumps({"p": {"params": params, "batch": {**BATCH, **batch}}}))
        return forecast_pipeline(load_file(path).pipelines["p"], folder=tmp_path, run_id="m").jobs[0]

    found = planned({"x": {"title": "x"}})
    assert "run" == found.does
    assert found.note.startswith("not known before the run; without a value, ")
    assert "refused" == planned({"x": "a*b"}).does
