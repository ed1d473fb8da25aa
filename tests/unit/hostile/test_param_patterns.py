"""The JSON Schema of a param cannot stop the check of a file, or a component of Airflow, with its patterns or size."""

from __future__ import annotations

import json

import pytest

from airflow_batchemr.pipeline_file import load_file
from airflow_batchemr.pipeline_file.checks import patterns
from airflow_batchemr.pipeline_file.checks.patterns import slow
from tests.unit.hostile.bounds import bounded

EXPONENTIAL = [
    r"^(a+)+$",
    r"(a*)*$",
    r"(a|a)*$",
    r"(a|aa)+$",
    r"(a|a?)+$",
    r"(ab|a|b)*$",
    r"((ab)+)+$",
    r"(x+x+)+y",
    r"([a-zA-Z]+)*$",
    r"^(([a-z])+.)+[A-Z]([a-z])+$",
    r"(.*)*$",
    r"^(\w+\s?)*$",
    r"^(\d+|\d+x)*$",
    r"(\s*|\t*)*x",
    r"([^,]*,?)*;",
    r"(?:a+)+?b",
    r"(a{1,1000}){1,1000}$",
    r"(a{0,30}){30}$",
    r"(a|b|ab){40}c",
    r"(?=(a+)+$)x",
    r"x(?!(a|aa)+$)",
    r"(?i)(Ab|a|B)*$",
    r"(?P<x>a+)+(?P=x)",
    r"(a)(?:\1|(a))+$",  # a reference to a group
    r"(.|\r)+x",  # characters that only an escape names
    r"(?:([^a])|(\x42))+!",
    r"(?:[^\x00-\x7f]|(\d))+!",  # digits, and letters, that are only within a range
    r"(?:\w|([\u2000-\u3000]))+!",
    r"(?i)(?:s|(\u017f))+!",
    r"(?si:(a)|(A))+!",
    r"(?a)(?:\W|(\xe9))+!",
    r"^(a)(?:(?:\1)+)+c$",
    r"^(?:(?:a?)*b)*c$",  # repetitions that can match nothing
    r"^(?:a?){100}a{100}$",
    r"(?:(?:\b)*){300}$",
    r"^(?:(?:^)*?){300}$",
    r"^(?:\u0401|\u0401x?)+$",
    "^(?:\\W|[a-\xff]x?)+0$",
    r"^(?:\d|[\u0600-\u0700]x?)+$",
    "(?i)^(?:\u017f|sx?)+!$",
    "(?a)^(?:\\W|\xe9x?)+!$",
    r"(?a:^(?:\W|[\xe0-\xff]x?)+!$)",
]
SLOW = [
    r"^(?:(?:ab){5}|(?:\d+){0,30})$",
    r"^(?:x|y\d{0,60}\d{0,60}\d{0,60}\d{0,60})!$",
    r"(?:(?:ab){0,70}(?:^|\w)){0,5}(a)$",
    r"(.*a){20}",
    r"(a?){30}a{30}",
    "a?" * 30 + "a" * 30,
    "(ab)?" * 40 + "(ab)" * 20 + "c",
    r"^.*.*.*.*.*x$",
    r"\s*\s*\s*\s*\s*x",
    r"^(?:(?!.*.*.*x)a)*$",  # at each character
    r"(?:(?:a{1,3}){0,20}|\d|\W)!",  # of texts that begin with a digit, none is long
]
FAST = [
    "",
    r"^[a-z]+$",
    r"^\d{4}-\d{2}-\d{2}$",
    r"^(\d{4}-\d{2}-\d{2},?)+$",
    r"^[a-z0-9]+(-[a-z0-9]+)*$",
    r"^([a-z]+\.)+com$",
    r"^[\w.+-]+@[\w-]+\.[\w.-]+$",
    r"^(\d+(,\d+)*)?$",
    r"^\s*(\w+\s*,\s*)*\w+\s*$",
    r"^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,}$",
    r"^s3://[a-z0-9.-]+/.*$",
    r"^.*,.*,.*$",
    r".*foo.*",
    r".*,.*,.*",
    r"^(https?|ftp)://[^\s/$.?#].[^\s]*$",
    r"^(?!aws:)[^!#]{1,128}$",
    r"^(?=.*[a-z])(?=.*\d).{8,}$",
    r"(['\"]).*?\1",
    r"^\d{4}([-/])\d\d\1\d\d$",
    r"^(?!.*--)(?!.*\.\.)[\w.-]+$",
    r"^[A-Za-z0-9._:/#@+-]{1,255}$",
    r"^([0-9a-f]{128},?)*$",
    r"^(\d{1,3}\.){3}\d{1,3}$",
    r"^([01]\d|2[0-3]):[0-5]\d$",
    r"^(prod|dev)-[a-z]{1,20}(-v\d+(\.\d+)*)?$",
    r"^P(?:\d+Y)?(?:\d+M)?(?:\d+D)?(?:T(?:\d+H)?(?:\d+M)?(?:\d+S)?)?$",
    r"^(?:[a-z]+=[^,=]+,)*[a-z]+=[^,=]+$",
    "(?i)^[a-z\xe4\xf6\xfc\xdf\u0130 -]+$",
    r"^[^\x00-\x1f\u0080-\U0010ffff]+$",
    r"^.*foo.*bar.*baz.*$",
    r"^(?:\s*[a-z]*){3}$",
    "^(" + "|".join(f"table_{number}" for number in range(500)) + ")$",
]
#: Patterns whose check would be slow itself.
LARGE = [
    "(" * 300 + "a" + ")*" * 300,
    "(" + "|".join(chr(0x4E00 + 2 * number) + chr(0x4E01 + 2 * number) for number in range(400)) + ")*",
    "." * 300 + "".join(chr(0x4E00 + number) for number in range(300)) + "*",
    "[a-z]?" * 150 + "$",
    "(" + "a?b?c?" * 60 + ")*",
    "(?:" * 80 + "a" + "){2}" * 80,
    "((a{1000}){1000}){1000}",
    ".*" * 5_000 + "$",
    "(" + "ab|ba|" * 2_000 + "b)*",
]


@pytest.fixture
def checked(tmp_path):
    """Return the positions and messages of the errors of a param."""

    def check(param):
        path = tmp_path / "p.yaml"
        job = {"batch": {"image": "etl:1", "queue": "q", "command": "c"}}
        path.write_text(json.dumps({"a": {"params": {"p": param}, **job}}))
        return [error.message for error in load_file(path).errors]

    return check


@pytest.mark.parametrize("pattern", EXPONENTIAL)
def test_a_pattern_that_takes_exponential_time_is_an_error(checked, pattern):
    """It is never used, with a default or without one, on its own or in `items`."""
    evil = "a" * 60 + "!"
    for param in (
        {"type": "string", "default": evil, "pattern": pattern},
        {"type": "string", "pattern": pattern},
        {"type": "array", "default": [evil], "items": {"pattern": pattern}},
        {"type": "array", "default": [{evil: 1}], "items": {"patternProperties": {pattern: {}}}},
        {"type": "array", "default": [[evil]], "items": {"anyOf": [{"items": {"pattern": pattern}}]}},
    ):
        (message,) = checked(param)
        assert "Python cannot match this regular expression in a reasonable time: it takes exponential time" in message


@pytest.mark.parametrize("pattern", SLOW)
def test_a_pattern_with_too_many_ways_is_an_error(checked, pattern):
    """Also if their number is finite, or grows slower than exponentially."""
    (message,) = checked({"type": "string", "default": "a" * 60, "pattern": pattern})
    assert "it takes too long" in message


@pytest.mark.parametrize("pattern", FAST)
def test_common_patterns_are_accepted(pattern):
    """Of names, dates, lists, addresses and URIs."""
    assert slow(pattern) is None


@pytest.mark.parametrize("pattern", LARGE, ids=lambda pattern: pattern[:10])
def test_the_check_of_a_large_pattern_ends(checked, pattern):
    """Each one is an error, after a bounded number of steps."""
    slow.cache_clear()
    patterns._runs.cache_clear()
    with bounded(memory=64 << 20, lines=4_000_000):
        errors = checked({"type": "string", "pattern": pattern})
    assert errors or pattern == LARGE[2]


@pytest.mark.parametrize(
    ("param", "message"),
    [
        ({"type": "array", "default": [1], "items": {"$ref": "http://127.0.0.1:9/x"}}, "`$ref` is not supported here"),
        ({"type": "array", "default": [1], "items": {"allOf": [{"$ref": "#/items"}]}}, "`$ref` is not supported here"),
        ({"type": "array", "items": {"anyOf": [{"const": one} for one in range(1_000)]}}, "more than 1,000 values"),
        ({"type": "string", "default": "a" * 501, "pattern": "^a+$"}, "may have 500 characters, not 501"),
        (
            {"type": "array", "default": [{"a": one} for one in range(2_000)], "items": {"uniqueItems": True}},
            "too many to check",
        ),
    ],
)
def test_a_schema_that_asks_for_too_much_is_an_error(checked, param, message):
    """References, many values, long text, and comparisons of each item with each other one."""
    assert message in " ".join(checked(param))


def test_a_deep_schema_is_an_error(checked):
    """Of any kind of nesting."""
    schema = {"type": "integer"}
    for _ in range(20):
        schema = {"items": schema}
    assert ["the JSON Schema has more than 16 levels"] == checked({"type": "array", "items": schema})
