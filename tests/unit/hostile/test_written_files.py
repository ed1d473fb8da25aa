"""Files that the commands write from hostile text: exact, and safe to display."""

from __future__ import annotations

import ast

import pytest
import yaml

from airflow_batchemr.dags.render import literal, python
from airflow_batchemr.pipeline_file.yaml_writer import dump
from tests.unit.hostile.text import HOSTILE, unsafe

TEXTS = [HOSTILE, f"a\n{HOSTILE}\nb\n", "\u202ea\nb\u2066", "\U000e0041\ufeff", f"\\{HOSTILE}\\"]


@pytest.mark.parametrize("text", TEXTS)
def test_python_is_exact_and_safe(text):
    """The code that `render` writes evaluates to the same text, without raw control or bidirectional characters."""
    for value in (text, [text], {text: {"a": [text] * 9}}):
        source = literal(value)
        assert value == ast.literal_eval(source)
        assert not unsafe(source)


def test_the_name_of_a_file_is_safe_in_python():
    """It is in the docstring of the module."""
    source = python([], f'a"""{HOSTILE}.yaml')
    assert not unsafe(source)
    assert len(ast.parse(source).body) <= 2


@pytest.mark.parametrize("text", TEXTS)
def test_yaml_is_exact_and_safe(text):
    """The file that `import` writes has the same values, and comments cannot add any."""
    file = {"p": {"description": text, "vars": {"a": [text], "b": {"c": text}}}}
    comments = {("p",): [text, "a\u2028evil: 1"], ("p", "vars", "a"): [f"b\x85evil: 1{text}"]}
    written = dump(file, comments, header=f"from a\x9b\u2028evil: 1{text}")
    assert yaml.safe_load(written) == file
    assert not unsafe(written)
