"""Templates inside code are warned about, wherever a shell or another interpreter reads it."""

from __future__ import annotations

import pytest

from airflow_batchemr.pipeline_file.checks import code

T = "{{ params.model }}"
CODE = [
    ["sh", "-c", f"train {T}"],
    ["bash", "-c", T],
    ["/bin/bash", "-lc", T],
    ["sh", "-ec", T],
    ["bash", "-c", "-e", T],
    ["bash", "-euo", "pipefail", "-c", T],
    ["bash", "-euoc", "pipefail", T],
    ["bash", "--norc", "--rcfile", "x", "-c", T],
    ["sh", "-c", "--", T],
    ["sh", "-c", "{% if params.x %}a{% endif %}"],
    ["dash", "-c", T],
    ["zsh", "-c", T],
    ["ksh", "-c", T],
    ["env", "bash", "-c", T],
    ["env", "A=1", "sh", "-c", T],
    ["env", "-S", f"sh -c {T}"],
    ["env", f"-Sprogram {T}"],
    ["timeout", "5", "sh", "-c", T],
    ["nice", "-n", "5", "bash", "-c", T],
    ["exec", "sh", "-c", T],
    ["sudo", "-u", "hadoop", "sh", "-c", T],
    ["su", "-", "hadoop", "-c", T],
    ["busybox", "sh", "-c", T],
    ["sh", "-c", 'exec "$@"', "sh", "bash", "-c", T],
    ["python3", "-c", T],
    ["/usr/bin/python3.11", "-W", "ignore", "-c", T],
    ["python", f"-cprint('{T}')"],
    ["perl", "-e", T],
    ["perl", "-lane", T],
    ["ruby", "-e", T],
    ["node", f"--eval={T}"],
    ["awk", "-F", ",", T],
    ["sed", "-n", f"s/a/{T}/"],
    ["hive", "-e", f"SELECT {T}"],
    ["spark-sql", "--hivevar", f"MODEL={T}", "-f", "x.sql"],
]
VALUES = [
    ["sh", "-c", 'train "$1"', "sh", T],
    ["sh", "-c", 'train "$@"', "sh", "-c", T],
    ["sh", "train.sh", T],
    ["sh", "-c", "echo {{ 'x' }}"],
    ["sh", "-c", "{% raw %}{{ x }}{% endraw %}"],
    ["python", "train.py", "-c", T],
    ["python", "-m", "train", "-c", T],
    ["awk", "-f", "train.awk", T],
    ["awk", "{print}", T],
    ["train", "--shell", "sh", T],
    ["ssh", "-c", T],
    ["hive", "-d", "DAY={{ ds }}", "-f", "x.q"],
]


def warnings(command, **batch):
    """Keys and messages of the warnings about a command."""
    found = code({"batch": {"command": command, **batch}}, ("batch",), {})
    return [(problem.keys, problem.message) for problem in found if problem.severity == "warning"]


@pytest.mark.parametrize("command", CODE, ids=str)
def test_a_template_that_is_executed_is_a_warning(command):
    """At the argument that contains it."""
    position = next(at for at, argument in enumerate(command) if "{{" in argument or "{%" in argument)
    ((keys, _),) = warnings(command)
    assert ("batch", "command", position) == keys


@pytest.mark.parametrize("command", VALUES, ids=str)
def test_a_template_that_is_a_value_is_no_warning(command):
    """Arguments after a script, constants, and dates in queries."""
    assert not warnings(command)


def test_the_warning_names_the_safe_form():
    """A variable of `env:`."""
    (found,) = code({"batch": {"command": f"sh -c 'train {T}'"}}, ("batch",))
    assert ("batch", "command") == found.keys
    assert "`sh` runs the text of `{{ params.model }}` as code" in found.message
    assert 'put the template in `env:` and use "$NAME" in the script' in str(found.hint)


def test_parameters_that_batch_inserts_into_a_script():
    """`Ref::name` is replaced by AWS, also in the text of a script."""
    script = ["sh", "-c", "train Ref::model"]
    assert warnings(script, parameters={"model": T})
    assert not warnings(script, parameters={"model": "a"})
    assert not warnings(["train", "Ref::model"], parameters={"model": T})
    assert warnings(script, parameters={"day": "a"}, submit={"parameters": {"model": T}})


@pytest.mark.parametrize(
    "mode", ["--deploy-mode cluster", "--deploy-mode=cluster", "--conf spark.submit.deployMode=cluster"]
)
def test_arguments_of_spark_submit_in_cluster_mode(mode):
    """A shell of YARN executes backticks in them; with `spark:`, they are refused."""
    (found,) = code({"steps": [f"spark-submit {mode} s3://a/b.py {T}"]}, ("steps",), {})
    assert ("steps", 0) == found.keys
    assert "a shell of YARN runs code in `{{ params.model }}`" in found.message
    for harmless in ("{{ ds }}", "{{ var.value.bucket }}", "{{ run_id }}"):
        assert not list(code({"steps": [f"spark-submit {mode} s3://a/b.py {harmless}"]}, ("steps",), {}))
    assert not list(code({"steps": [f"spark-submit --deploy-mode client s3://a/b.py {T}"]}, ("steps",), {}))


def test_text_steps_of_an_operator():
    """Each one is a command of its own, as in `steps:` of a job."""
    data = {"operator": "airflow_batchemr.EphemeralEmrOperator", "with": {"steps": ["date", f"sh -c 'train {T}'"]}}
    (found,) = code(data, ())
    assert ("with", "steps", 1) == found.keys


def test_a_script_that_is_split_over_the_keys_of_a_pod():
    """Kubernetes runs `command` followed by `args`."""
    data = {"batch": {"submit": {"containers": [{"command": ["sh", "-c"], "args": ["true", T]}]}}}
    assert not list(code(data, ("batch",)))
    data["batch"]["submit"]["containers"][0]["args"] = [T]
    (found,) = code(data, ("batch",))
    assert ("batch", "submit", "containers", 0, "args", 0) == found.keys


@pytest.mark.parametrize(
    ("param", "free"),
    [
        ("a", True),
        ({"default": "a"}, True),
        ({"default": "a", "type": "string"}, True),
        ({"default": "a", "enum": ["a", "b"]}, False),
        ({"default": "a", "type": "string", "pattern": "^[a-z]+$"}, False),
        ({"default": "a", "type": ["string", "null"], "pattern": r"\A(a|b)\Z"}, False),
        ({"default": "a", "type": "string", "pattern": "[a-z]+"}, True),  # matches a part
        ({"default": "a", "type": "string", "pattern": "^.*$"}, True),
        ({"default": "a", "type": "string", "pattern": "^(a.+)$"}, True),
        ({"default": "a", "type": "string", "pattern": "^a|b$"}, True),
        ({"default": "a", "type": "string", "pattern": "("}, True),  # reported by another check
        ({"default": "a", "pattern": "^[a-z]+$"}, True),  # a list is accepted
        ({"default": [], "type": "array", "pattern": "^[a-z]+$"}, True),
        ({"default": 1, "type": ["integer", "null"]}, False),
    ],
)
def test_hive_may_insert_values_that_the_pipeline_restricts(param, free):
    """The warning tells how to get rid of it."""
    data = {"steps": [{"hive": {"script": "s3://code/x.q", "args": ["-d", f"MODEL={T}"]}}]}
    assert free == bool(list(code(data, ("steps",), {"model": param})))


def test_the_script_of_a_bash_operator():
    """Dates are no warning, because nobody chooses them."""

    def found(script):
        return [one.keys for one in code({"operator": "x.BashOperator", "with": {"bash_command": script}}, ())]

    assert [("with", "bash_command")] == found(f"train {T}")
    assert [("with", "bash_command")] == found("train {{ dag_run.conf['model'] }}")
    assert [("with", "bash_command")] == found("train {{ ti.xcom_pull(task_ids='a') }}")
    assert [] == found("train {{ ds }} {{ data_interval_end | ts }} $MODEL")
