"""Text commands: split into arguments as a shell would, without a shell, and before templates are rendered."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment

from airflow_batchemr.pipeline_file.errors import Refusal
from airflow_batchemr.pipeline_file.models import Batch, Step
from airflow_batchemr.pipeline_file.models.command import split_command

HOSTILE = ["a; touch /tmp/x", "$(touch /tmp/x)", "`id`", "it's", '"', "a b", "a\nb", "", "{{ x }}", "\\", "--all", "*"]


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("transform.sh --input s3://data/in", ["transform.sh", "--input", "s3://data/in"]),
        ("echo 'a b' \"c d\" e\\ f", ["echo", "a b", "c d", "e f"]),
        ("echo $HOME * | wc > x; ls", ["echo", "$HOME", "*", "|", "wc", ">", "x;", "ls"]),
        ("one\n  two", ["one", "two"]),
        ("one \\\n  --two '{{ x }}' \\\n", ["one", "--two", "{{ x }}"]),
        ("o\\\nne \"it's \\\nb\" 'c\\\nd' \\\\\ne", ["one", "it's b", "c\\\nd", "\\", "e"]),
        ("run.sh {{ ds }} {{ds}}", ["run.sh", "{{ ds }}", "{{ds}}"]),
        ("run --day={{ ds }}/x '{{ ds }} y'", ["run", "--day={{ ds }}/x", "{{ ds }} y"]),
        ("run {{ params['a b'] }} z", ["run", "{{ params['a b'] }}", "z"]),
        ('run {{ "it\'s }}" }} z', ["run", '{{ "it\'s }}" }}', "z"]),
        ("run {{ {'a': {'b': 1}}['a']['b'] }} z", ["run", "{{ {'a': {'b': 1}}['a']['b'] }}", "z"]),
        ("run {{ ds | replace(' ', '-') }}", ["run", "{{ ds | replace(' ', '-') }}"]),
        ("run {% if params.all %}--all{% endif %}", ["run", "{% if params.all %}--all{% endif %}"]),
        ("run '{% if params.all %}a b{% else %}c{% endif %}'", ["run", "{% if params.all %}a b{% else %}c{% endif %}"]),
        ("run {# it's #} x", ["run", "{# it's #}", "x"]),
        ("run Ref::input", ["run", "Ref::input"]),
    ],
)
def test_a_text_command_is_split_without_a_shell(command, arguments):
    """Quotes and backslashes work, everything else reaches the program, and a template belongs to one argument."""
    assert arguments == split_command(command)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", "the command is empty"),
        ("  ", "the command is empty"),
        ("echo 'a", "no closing quotation"),
        ("echo {{ ds", "`{{` is not closed"),
        ("run {% if x %}--a --b{% endif %}", "must begin and end in the same argument"),
        ("run {% endif %}{% if x %}", "must begin and end in the same argument"),
        ("run {% set x = 1 %}{{ x }}", "takes no {% set %}"),
    ],
)
def test_a_command_that_cannot_be_split_is_rejected(command, message):
    """With the reason."""
    with pytest.raises(Refusal, match=message.replace("{", r"\{")):
        split_command(command)


@pytest.mark.parametrize("value", HOSTILE)
def test_a_rendered_value_stays_one_argument(value):
    """Whatever it contains."""
    render = Environment(autoescape=False, keep_trailing_newline=True).from_string  # noqa: S701 - like Airflow
    arguments = [render(one).render(x=value) for one in split_command("run --x={{ x }} '{{ x }}' {{ x }} end")]
    assert ["run", f"--x={value}", value, value, "end"] == arguments


@given(st.lists(st.text(st.characters(exclude_characters="{\ue000", exclude_categories=["Cs"])), min_size=1))
def test_text_is_split_like_a_shell_would(arguments):
    """Arguments joined by `shlex.join` are split into the same arguments."""
    assert arguments == split_command(shlex.join(arguments))


def test_batch_jobs_and_steps_accept_the_same_commands():
    """A list is not changed, except that numbers become text."""
    for model in (Batch, Step):
        assert ["run", "a b"] == model.model_validate({"command": "run 'a b'"}).command
        assert ["run", "a b", "3"] == model.model_validate({"command": ["run", "a b", 3]}).command
