"""Reading YAML: values, positions and limits."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batchemr.pipeline_file.reader import MAX_FILE, WrittenFloat, read
from airflow_batchemr.pipeline_file.source_position import SourcePosition


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("true", True),
        ("False", False),
        ("12", 12),
        ("-3", -3),
        ("012345678901", "012345678901"),
        ("1:30", "1:30"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("2026-01-01", "2026-01-01"),
        ("~", None),
        ("", None),
        ("1.10", 1.1),
        ("1e3", 1000.0),
        (".inf", ".inf"),
        ("9" * 5000, "9" * 5000),
        ("'12'", "12"),
        ("!!str 12", "12"),
        ("=", "="),
    ],
)
def test_plain_scalars_follow_yaml_1_2(text, value):
    """`on`, `no`, account numbers and times are text, unlike in YAML 1.1."""
    assert {"a": value} == read("x", f"a: {text}").value


def test_a_key_is_always_text():
    """Even if it looks like a number or a boolean."""
    assert {"on": 1, "2024": 2, "true": 3, "~": 4} == read("x", "on: 1\n2024: 2\ntrue: 3\n~: 4").value


def test_a_number_keeps_its_notation():
    """The version 1.10 does not become 1.1, even after copying."""
    number = read("x", "a: 1.10").value["a"]
    for each in (number, copy.deepcopy(number), pickle.loads(pickle.dumps(number))):  # noqa: S301 - our own
        assert ("1.10", 1.1) == (str(each), each)
    assert WrittenFloat("1.10") == number


def test_aliases_and_merge_keys_are_expanded():
    """Explicit keys override merged keys; the first of several merged mappings wins."""
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], x: 3}\nd: *a"
    assert {"x": 3, "y": 1, "z": 2} == read("x", text).value["c"]
    assert {"x": 1, "y": 1} == read("x", text).value["d"]


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 100_000,
        "a: " + "{b: " * 100_000,
        "- " * 100_000,
        "a:\n" + "? " * 100_000,
        "a: " + "[" * 100 + "]" * 100,
        "\n".join(" " * depth + "a:" for depth in range(500)),
    ],
    ids=["lists", "mappings", "dashes", "keys", "a hundred", "blocks"],
)
def test_nesting_cannot_exhaust_the_stack(text):
    """Deep nesting of any kind is an error."""
    assert ["lists and mappings can be nested at most 64 levels deep"] == [
        error.message for error in read("x", text).errors
    ][:1]


def test_many_brackets_without_nesting_are_accepted():
    """Such as thousands of templates and small mappings."""
    assert [] == read("x", "a:\n" + "  - [{a: '{{ ds }}'}]\n" * 5000).errors


def test_a_file_that_is_too_large_is_rejected(tmp_path):
    """By its size, without reading it."""
    from airflow_batchemr.pipeline_file import load_file

    path = tmp_path / "huge.yaml"
    with path.open("wb") as stream:
        stream.truncate(MAX_FILE + 1)
    spec = load_file(path)
    assert [f"the file has {MAX_FILE + 1:,} bytes; the limit is {MAX_FILE:,}"] == [
        error.message for error in spec.errors
    ]


def test_a_file_that_is_not_utf8_is_reported_with_its_position(tmp_path):
    """Line and column of the first invalid byte."""
    from airflow_batchemr.pipeline_file import load_file

    path = tmp_path / "latin.yaml"
    path.write_bytes(b"a:\n  owner: M\xfcller\n")
    (error,) = load_file(path).errors
    assert ("the file is not UTF-8", 2, 11) == (error.message, error.line, error.column)


@pytest.mark.parametrize(
    ("keys", "key", "position", "found"),
    [
        (("a", "b", 1), False, SourcePosition(2, 10), 3),
        (("a", "b"), True, SourcePosition(2, 3), 2),
        (("a", "c"), False, SourcePosition(3, 3), 2),
        (("a", "c", "d"), False, SourcePosition(4, 8, 3), 3),
        (("a", "c", "nowhere"), False, SourcePosition(3, 3), 2),
        (("b", "x"), False, SourcePosition(5, 13), 2),
        (("nowhere",), False, SourcePosition(1, 1), 0),
    ],
)
def test_a_position_is_found_by_path(keys, key, position, found):
    """Of the value, of its key, or of the closest existing parent; also through `<<`."""
    text = "a:\n  b: [1, 2]\n  c:\n    d: foo\nb: {<<: {x: 1}}\n"
    assert (position, found) == read("x", text).find(keys, key=key)


@given(st.text(alphabet=st.sampled_from(list("ab:-[]{}#&*!|>'\"%@`?,. \n\t\r\\<=~0$\x00\x85\u2028é")), max_size=60))
def test_any_text_is_read_or_rejected(text):
    """Never with a traceback, and every error has a message."""
    document = read("x", text)
    assert all(error.message and str(error) for error in document.errors)
    assert isinstance(document.value, dict)
