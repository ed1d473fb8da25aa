"""Hostile text in everything that reads files of users: it ends in a value or in an error, within bounds."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_batchemr.pipeline_file import PipelineFileError, files_for, find_files, graph, limits, load_file
from airflow_batchemr.pipeline_file.formatting import format_text
from airflow_batchemr.pipeline_file.importers import step_functions, sundial
from airflow_batchemr.pipeline_file.importers.document import read_json
from airflow_batchemr.pipeline_file.importers.quartz import QuartzError, to_cron
from airflow_batchemr.pipeline_file.reader import MAX_FILE, read
from tests.unit.hostile.bounds import bounded

if TYPE_CHECKING:
    from airflow_batchemr.pipeline_file.importers.translation import Translation
    from airflow_batchemr.pipeline_file.load import PipelineFile

MIB = 1024**2
DATA = Path(__file__).parents[2] / "data"
JOB = "{image: i, queue: q, command: c}"
FUZZ = settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))


def numbered(form: str, count: int, start: int = 0, join: str = "") -> str:
    return join.join(
        form.replace("#-", str(n - 1)).replace("#+", str(n + 1)).replace("#", str(n)) for n in range(start, count)
    )


def command(text: str) -> str:
    return f"p: {{batch: {{image: i, queue: q, command: {json.dumps(text)}}}}}\n"


EXPANSIONS = {
    "aliases": "vars:\n  a0: &a0 [x, x]\n" + numbered("  a#: &a# [*a#-, *a#-, *a#-, *a#-, *a#-, *a#-]\n", 12, 1),
    "merge keys": "vars:\n  m0: &m0 {k: 1}\n" + numbered("  m#: &m#\n    <<: [*m#-, *m#-]\n    k#: 1\n", 60, 1),
    "an alias of itself": "p: &p {jobs: *p}\n",
    "text variables": "vars:\n  v0: aaaaaaaaaa\n"
    + numbered("  v#: '${v#-}${v#-}${v#-}${v#-}'\n", 14, 1)
    + command("${v13}"),
    "list variables": "vars:\n  v0: [a]\n"
    + numbered("  v#: ['${v#-}', '${v#-}', '${v#-}', '${v#-}']\n", 14, 1)
    + "p: {tags: '${v13}'}\n",
    "a chain of variables": f"vars:\n{numbered('  v#: $' + '{v#+}' + chr(10), 200)}{command('${v0}')}",
    "a chain of jobs": f"p:\n  jobs:\n    j0: {{batch: {JOB}}}\n" + numbered("    j#: {extends: j#-}\n", 60, 1),
    "a matrix of 10^9": "p:\n  matrix:\n"
    + numbered(f"    a#: [{numbered('#', 32, 0, ',')}]\n", 6)
    + f"  batch: {JOB}\n",
}
NESTED = {
    "brackets": f"p: {'[' * 100_000}\n",
    "closed brackets": f"p: {'[' * 1900}{']' * 1900}\n",
    "blocks": numbered("- a:\n", 1) + "".join(f"{' ' * n}- a:\n" for n in range(1, 700)),
    "dashes": f"p:\n{'- ' * 100_000}\n",
    "questions": "? " * 3000,
    "templates": command(f"{{{{ {'(' * 3000}1{')' * 3000} }}}}"),
    "a long template": command(f"{{{{ {'1+' * 5000}1 }}}}"),
    "blocks of templates": command("{% if a %}" * 3000),
    "schemas": f"p: {{params: {{x: {{default: 1, {'allOf: [{' * 25}type: integer{'}]' * 25}}}}}, batch: {JOB}}}\n",
    "a schema that refers to itself": f"p: {{params: {{x: {{default: 1, $ref: '#'}}}}, batch: {JOB}}}\n",
}
LARGE = {
    "a scalar": command("x" * 20_000),
    "a key": f"{'x' * 20_000}: {{batch: {JOB}}}\n",
    "a job's key": f"p: {{jobs: {{{'y' * 1000}: {{batch: {JOB}}}}}}}\n",
    "documents": "---\na: 1\n" * 1_000,
    "an integer": f"p: {{array: {'9' * 10_000}, batch: {JOB}}}\n",
    "an array": f"p: {{array: {10**17}, batch: {JOB}}}\n",
    "durations": f"p: {{timeout: {'9' * 17}d, schedule: {{every: {'9' * 17}d}}, batch: {JOB}}}\n",
    "a date": f"p: {{start_date: {'9' * 4000}-01-01, batch: {JOB}}}\n",
    "a time zone": f"p: {{timezone: '../../../../etc/passwd', batch: {JOB}}}\n",
    "a long time zone": f"p: {{timezone: '{'a/' * 5000}', batch: {JOB}}}\n",
    "a cron list": f"p: {{schedule: '{'0-59/1,' * 1000}1 * * * *', batch: {JOB}}}\n",
    "a number in a template": command("{{ 9 ** 9 ** 9 ** 9 }}"),
    "line breaks": "\n" * 50_000,
    "quotes": "'" * 10_001,
    "unknown keys": f"p: {{{numbered('zz#: 1', 80, 0, ', ')}}}\n",
    "duplicate keys": f"p: {{{numbered('zz: 1', 300, 0, ', ')}}}\n",
    "undefined variables": f"vars: {{{numbered('w#: 1', 600, 0, ', ')}}}\n" + command(numbered("${u#}", 300)),
    "dag-factory": f"p:\n  default_args: {{}}\n  tasks:\n{numbered('    t#: {operator: x.Y}' + chr(10), 200)}",
    "control characters": "p: \x1b]0;x\x07\x00\n",
    "a surrogate": 'p: "\\ud800"\n',
    "a tag": "p: !!python/object/apply:os.system [id]\n",
}


def ends(folder: Path, text: str | bytes, name: str = "p.yaml") -> PipelineFile:
    """Read a file in every way; return its content."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    loaded = load_file(path)
    for error in (*loaded.errors, *loaded.warnings):
        assert len(str(error)) < 20_000
    for pipeline in loaded.pipelines.values():
        for draw in (graph.as_text, graph.as_mermaid, graph.as_svg, graph.as_data):
            draw(pipeline)
    load_file(path, only="p")
    if isinstance(text, str) and path.suffix != ".json":
        with suppress(PipelineFileError):
            format_text(text, path)
    return loaded


@pytest.mark.parametrize("text", [*EXPANSIONS.values()], ids=[*EXPANSIONS])
def test_what_a_file_expands_to_is_bounded(tmp_path: Path, text: str) -> None:
    """Aliases, variables and matrices multiply; each ends in an error."""
    with bounded(memory=100 * MIB, lines=20_000_000):
        assert ends(tmp_path, text).errors


@pytest.mark.parametrize("text", [*NESTED.values()], ids=[*NESTED])
def test_nesting_is_bounded(tmp_path: Path, text: str) -> None:
    """Neither Python's stack nor that of C overflows."""
    with bounded(memory=100 * MIB, lines=5_000_000):
        ends(tmp_path, text)


@pytest.mark.parametrize("text", [*LARGE.values()], ids=[*LARGE])
def test_large_values_are_bounded(tmp_path: Path, text: str) -> None:
    """And so are the errors about them."""
    with bounded(memory=100 * MIB, lines=5_000_000):
        ends(tmp_path, text)


def test_the_pipelines_and_jobs_of_a_file_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is within the limits is loaded, and the rest is one error at its position. Here, the limits are lower."""
    monkeypatch.setattr(limits, "MAX_PIPELINES", 20)
    monkeypatch.setattr(limits, "MAX_JOBS", 30)
    axis = numbered("#", 15, 0, ",")
    loaded = ends(tmp_path, numbered(f"p#: {{matrix: {{a: [{axis}]}}, batch: {JOB}}}\n", 50))
    assert len(loaded.pipelines) == 20
    (error,) = loaded.errors
    assert "p.yaml:2:1: error: a file can have at most 10,000 pipelines; the others are ignored" in str(error)
    loaded = ends(tmp_path, f"p:\n  jobs:\n    j: {{matrix: {{a: [{axis}], b: [1, 2, 3]}}, batch: {JOB}}}\n")
    assert "a file can have at most" in str(loaded.errors)


def test_the_position_of_an_error_is_found_without_a_search_of_all_pipelines() -> None:
    """A file can have an error in each of thousands of pipelines."""
    document = read("p.yaml", numbered("p#: 1\n", 5_000))
    with bounded(memory=10 * MIB, lines=50_000):
        positions = [document.find([f"p{n}"], key=True)[0] for n in range(4_000, 4_100)]
    assert list(range(4_001, 4_101)) == [position.line for position in positions if position is not None]


@pytest.mark.parametrize("size", [MAX_FILE + 1, 100 * MIB])
def test_a_large_file_is_not_read_to_its_end(tmp_path: Path, size: int) -> None:
    """Neither by the loader nor by the search for a pipeline."""
    with (tmp_path / "p.yaml").open("wb") as file:
        file.truncate(size)
    with bounded(memory=3 * MAX_FILE, lines=10_000):
        (error,) = load_file(tmp_path / "p.yaml").errors
        assert f"the file has {size:,} bytes; the limit is {MAX_FILE:,}" in str(error)
        assert [tmp_path / "p.yaml"] == files_for(tmp_path, "other")


def test_devices_and_named_pipes_are_not_read(tmp_path: Path) -> None:
    """A link to /dev/zero has no end, and a pipe without a writer blocks."""
    import os

    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.yaml")
    with bounded(memory=3 * MAX_FILE, lines=10_000):
        files_for(tmp_path, "x")
        for file in find_files(tmp_path):
            (error,) = load_file(file).errors
            assert "this is a device or a named pipe, not a file" in str(error)


@pytest.mark.parametrize(
    "raw", [b"p: \xff\xfe\n", "p: 1".encode("utf-16"), b"\x00" * 1000, b"\xef\xbb\xbf\xef\xbb\xbf"]
)
def test_bytes_that_are_no_text_are_errors(tmp_path: Path, raw: bytes) -> None:
    """With the position."""
    assert ends(tmp_path, raw).errors


@pytest.mark.parametrize("text", [*EXPANSIONS.values(), *NESTED.values()], ids=[*EXPANSIONS, *NESTED])
def test_the_defaults_of_a_folder_are_bounded(tmp_path: Path, text: str) -> None:
    """They are read with every file of the folder."""
    (tmp_path / "defaults.yaml").write_text(text)
    with bounded(memory=100 * MIB, lines=20_000_000):
        ends(tmp_path, command("${v13} ${v0}"))


#: Pieces of YAML that mean something to the reader, in any order.
PIECES = st.sampled_from(
    [
        *"'\"|>#{}[]~\n\t\x00\ufeff\u2028\x85é😀",
        ": ",
        ", ",
        "- ",
        "? ",
        "\n  ",
        "\n    ",
        "&a ",
        "*a",
        "<<: *a",
        "p: ",
        "jobs: ",
        "batch: ",
        "array: 3",
        "matrix: {a: [1, 2]}",
        "defaults: ",
        "vars: ",
        "env: ",
        "after: ",
        "---",
        "${a}",
        "${",
        "{{ ds }}",
        "{% if",
        "!!str ",
        "%YAML 1.2",
        "1e999",
        "0x1f",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | PIECES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | PIECES, inner, max_size=4),
    max_leaves=12,
)


@FUZZ
@given(text=st.lists(PIECES | st.text(max_size=5), max_size=40).map("".join))
def test_any_text_is_a_file_or_an_error(tmp_path: Path, text: str) -> None:
    """Also with surrogates and control characters."""
    with bounded(memory=20 * MIB, lines=1_000_000):
        ends(tmp_path, text)


def paths_of(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """The paths of all values."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(inner for key, item in items for inner in paths_of(item, (*path, key)))]


def replaced(value: object, path: tuple[object, ...], new: object) -> object:
    """A copy of a value with another value at a path."""
    if not path:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)  # type: ignore[call-overload]
    copied[path[0]] = replaced(copied[path[0]], path[1:], new)
    return copied


PIPELINE = {
    "vars": {"a": "x"},
    "defaults": {"batch": {"queue": "q", "env": {"A": "${a}"}}},
    "p": {
        "schedule": "0 2 * * *",
        "start_date": "2026-01-01",
        "timezone": "Europe/Berlin",
        "params": {"n": {"type": "integer", "default": 3}},
        "clusters": {"c": {"type": "m5.xlarge", "instances": 2, "log_uri": "s3://l"}},
        "jobs": {
            "a": {"array": {"pack": "s3://b/x", "shards": 5}, "batch": {"image": "i", "command": ["c", "{{ ds }}"]}},
            "b": {"after": ["a"], "emr": {"cluster": "c"}, "spark": {"py": "s3://b/a.py"}},
            "c": {"matrix": {"r": ["eu", "us"]}, "retries": 2, "batch": {"image": "i", "command": "c ${r}"}},
        },
    },
}
MACHINE = json.loads(next((DATA / "step_functions").rglob("*.json")).read_text())
PROCESSES = json.loads(next(iter((DATA / "sundial").rglob("every_field.json"))).read_text())


@FUZZ
@given(data=st.data())
def test_any_value_at_any_place_is_a_file_or_an_error(tmp_path: Path, data: st.DataObject) -> None:
    """JSON is YAML: a valid file, with one value replaced."""
    path = data.draw(st.sampled_from(paths_of(PIPELINE)))
    text = json.dumps(replaced(PIPELINE, path, data.draw(VALUES)))
    with bounded(memory=20 * MIB, lines=2_000_000):
        ends(tmp_path, text)


@FUZZ
@given(data=st.data(), source=st.sampled_from(["sundial", "step functions"]))
def test_any_value_in_an_imported_file_is_a_file_or_an_error(tmp_path: Path, data: st.DataObject, source: str) -> None:
    """A valid definition of Sundial or Step Functions, with one value replaced."""
    start = PROCESSES if source == "sundial" else MACHINE
    path = data.draw(st.sampled_from(paths_of(start)))
    text = json.dumps(replaced(start, path, data.draw(VALUES)))

    def translate(value: object) -> Translation:
        return sundial.translate(value) if source == "sundial" else step_functions.translate(value, "p")

    with bounded(memory=20 * MIB, lines=3_000_000):
        document = read_json("p.json", text, translate)
        assert document.value or document.errors
        ends(tmp_path, document.yaml())
        if source == "sundial":
            ends(tmp_path, text, "p.json")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, f'{{"StartAt": "{"x" * 300_000}", "States": {{}}}}', "9" * 10_000]
)
def test_hostile_json_is_an_error(tmp_path: Path, text: str) -> None:
    """Neither Python's stack nor that of C overflows."""
    with bounded(memory=100 * MIB, lines=1_000_000):
        assert ends(tmp_path, text, "p.json").errors
        assert read_json("p.json", text, lambda value: step_functions.translate(value, "p")).errors


QUARTZ = st.lists(
    st.sampled_from(
        ["*", "?", "/", "-", ",", "L", "W", "#", "0", "1", "59", "99999999999", "MON", "FRI", "JAN", " ", "é"]
    ),
    max_size=300,
).map("".join)


@settings(FUZZ, max_examples=100)
@given(fields=st.lists(QUARTZ, min_size=5, max_size=5))
def test_any_quartz_fields_are_cron_or_an_error(fields: list[str]) -> None:
    """Fields of up to 300 parts."""
    names = ("minutes", "hours", "day_of_month", "month", "day_of_week")
    with bounded(memory=5 * MIB, lines=200_000), suppress(QuartzError):
        assert len(to_cron(**dict(zip(names, fields, strict=True))).split()) == 5
