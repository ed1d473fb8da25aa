"""Any single mutation of a valid file is either accepted and can be compiled, or rejected with a position."""

from __future__ import annotations

import copy
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from airflow_batchemr.dags.plan import plan_dag
from airflow_batchemr.pipeline_file import PipelineFileError, load_file
from airflow_batchemr.pipeline_file.json_schema import json_schema
from airflow_batchemr.pipeline_file.models import Pipeline
from airflow_batchemr.pipeline_file.reader import read

VALID = sorted((Path(__file__).parent / "valid").glob("*.yaml"))
TEXTS = [path.read_text() for path in VALID]
VALUES = [read(path, text).value for path, text in zip(VALID, TEXTS, strict=True)]

odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.sampled_from([10**6, 10**18, 0.5, -1.5, 1e300]),
    st.sampled_from(
        ["", " ", "x", "0", "s3://x", "{{ ds }}", "${x}", "$${x}", "${", "a b", "\u00e9", "\x00", "x" * 300]
    ),
    st.sampled_from(["@daily", "* * * * *", "1h", "8GiB", "1e5", "-", "*", "2026-01-01", "succeeded", "split", "eu"]),
    st.sampled_from([[], {}, [None], [[]], {"": None}, {"x": 1}, ["x", "x"], [{}], {"a": {"b": {}}}, [1, "a", True]]),
)


def places(value: object, above: tuple = ()) -> list[tuple]:
    """The paths of all nested values."""
    found = [above] if above else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += places(item, (*above, key))
    return found


@st.composite
def mutated_values(draw) -> str:
    """A valid file with one value replaced, removed, renamed, wrapped or swapped."""
    value = copy.deepcopy(draw(st.sampled_from(VALUES)))
    keys = draw(st.sampled_from(places(value)))
    parent = value
    for key in keys[:-1]:
        parent = parent[key]
    last = keys[-1]
    kind = draw(st.sampled_from(["replace", "replace", "remove", "rename", "wrap", "swap"]))
    if kind == "replace":
        parent[last] = draw(odd)
    elif kind == "remove":
        del parent[last]
    elif kind == "wrap":
        parent[last] = [parent[last]]
    elif kind == "rename" and isinstance(parent, dict):
        item = parent.pop(last)
        parent[
            draw(st.sampled_from(["", "x", "jobs", "batch", "emr", "defaults", "<<", "on", f"{last}s", "a.b", "1"]))
        ] = item
    elif kind == "swap":
        other = value
        for key in draw(st.sampled_from(places(value))):
            other = other[key]
        parent[last] = copy.deepcopy(other)
    return yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True)


class Dumper(yaml.SafeDumper):
    """Writes the reader's values, without aliases."""

    def ignore_aliases(self, _: object) -> bool:
        return True


Dumper.add_multi_representer(
    float, lambda dumper, number: dumper.represent_scalar("tag:yaml.org,2002:float", str(number))
)


@st.composite
def mutated_texts(draw) -> str:
    """A valid file with a character or a line removed, duplicated, indented or inserted."""
    text = draw(st.sampled_from(TEXTS))
    kind = draw(st.sampled_from(["character", "insert", "cut", "line", "double", "indent"]))
    if kind in ("character", "insert", "cut"):
        at = draw(st.integers(0, len(text)))
        if kind == "cut":
            return text[:at]
        new = draw(st.sampled_from(list("ab1:-[]{}#&*!|>'\"%@`?,. \n\t$\\\x00é")))
        return text[:at] + new + text[at + (kind == "character") :]
    lines = text.split("\n")
    at = draw(st.integers(0, len(lines) - 1))
    if kind == "line":
        del lines[at]
    elif kind == "double":
        lines.insert(at, lines[at])
    else:
        lines[at] = draw(st.sampled_from([" ", "  ", "\t", "- "])) + lines[at]
    return "\n".join(lines)


def check(path: Path, text: str) -> None:
    """Load the text, check the errors, and compile the accepted pipelines."""
    path.write_bytes(text.encode())
    spec = load_file(path)
    lines = text.split("\n")
    for error in (*spec.errors, *spec.warnings):
        assert isinstance(error, PipelineFileError)
        assert error.line is not None
        assert 1 <= error.line <= len(lines) + 1
        assert error.column is not None
        assert str(error).startswith(f"{path}:{error.line}:{error.column}: {error.severity}: {error.message}")
    for name, pipeline in spec.pipelines.items():
        assert name not in {error.pipeline for error in spec.errors}
        plan_dag(pipeline)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    """The path of the mutated file."""
    return tmp_path_factory.mktemp("mutations") / "file.yaml"


quiet = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=150)


@quiet
@given(text=mutated_values())
def test_a_mutated_value_is_accepted_or_rejected(path, text):
    """Another type, another key, no value, or a value from elsewhere in the file."""
    check(path, text)


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    """The JSON Schema of pipeline files."""
    return jsonschema.Draft202012Validator(json_schema())


@quiet
@given(text=mutated_values())
def test_the_schema_accepts_what_the_loader_accepts(path, schema, text):
    """If a mutated file loads in all of its environments, it is valid according to the schema."""
    path.write_text(text)
    spec = load_file(path)
    if not any(load_file(path, name).errors for name in (None, *spec.environments)):
        assert [] == [error.message for error in schema.iter_errors(read(path, text).value)]


@quiet
@given(text=mutated_texts())
@example(text="")
@example(text="\x00")
def test_mutated_text_is_accepted_or_rejected(path, text):
    """Typing errors."""
    check(path, text)


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_model_can_be_created_from_its_own_dump(path):
    """The dump of a pipeline validates to the same pipeline."""
    for pipeline in load_file(path).pipelines.values():
        for how in ({"exclude_unset": True}, {"exclude_none": True}, {}):
            dumped = pipeline.model_dump(by_alias=True, **how)
            assert pipeline.model_dump() == Pipeline.model_validate(dumped).model_dump()
