"""`batchemr fmt`: formatting without losing content."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from airflow_batchemr.cli.fmt import app
from airflow_batchemr.pipeline_file import PipelineFileError
from airflow_batchemr.pipeline_file.formatting import format_text
from airflow_batchemr.pipeline_file.reader import read

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "tests/corpus").glob("*.yaml")) + sorted(
    (ROOT / "tests/unit/pipeline_file/valid").glob("*.yaml")
)
SOUND = [path for path in FILES if not read(path, path.read_text()).errors]


def run(*args: object, stdin: str | None = None):
    """The command's result."""
    return CliRunner().invoke(app, [str(arg) for arg in args], input=stdin)


def test_spaces_indentation_and_empty_lines_are_normalized():
    """Two columns per level, indented lists, single spaces, one empty line between pipelines."""
    text = """

    # head
    a:
        schedule:   '@daily'


        batch:
            command:
            - x
            -    y     #   why
            env: { A: 1 ,B:   2,
                  C: 3 }
        # end of a
    # about b
    b: {batch:   {image: i:1}}
    # the end

    """
    expected = """\
    # head
    a:
      schedule: '@daily'

      batch:
        command:
          - x
          - y  #   why
        env: {A: 1, B: 2,
              C: 3}
      # end of a

    # about b
    b: {batch: {image: i:1}}
    # the end
    """
    assert textwrap.dedent(expected) == format_text(textwrap.dedent(text))


def test_multi_line_text_is_preserved():
    """The inner indentation of block scalars, empty lines and trailing line breaks do not change."""
    text = "a:\n    description: |+\n          one\n\n            two\n\n    owner: >-\n         x\n         y\n"
    text += "    tags:\n       'a\n       b'\n"
    expected = "a:\n  description: |+\n    one\n\n      two\n\n  owner: >-\n    x\n    y\n  tags:\n    'a\n    b'\n"
    assert expected == format_text(text)


@pytest.mark.parametrize("path", SOUND, ids=lambda path: path.stem)
def test_values_and_comments_are_kept_and_formatting_is_idempotent(path):
    """Formatting a formatted file changes nothing."""
    text = path.read_text()
    made = format_text(text)
    assert read(path, text).value == read(path, made).value
    assert sorted(line.strip() for line in text.split("\n") if line.startswith("#")) == sorted(
        line.strip() for line in made.split("\n") if line.startswith("#")
    )
    assert made == format_text(made)


PARTS = """\
a: 1|b:|- x|- y: 2|# note||c: [1,  2, {x: 1}]|d: >|- - z|e: 'q|r'|f: &q 1|g: *q|- # z|h: {|}|? k|i: >+2|l: |- m|\
  text # t|---|j: "x\\|k : v|<<: *q|'s': 1 # u|! t"""
LINES = st.lists(st.tuples(st.integers(0, 6), st.sampled_from(PARTS.split("|"))), max_size=12)


@given(LINES)
def test_any_text_is_formatted_or_rejected(lines):
    """Without a traceback; formatted text has the same values, and formatting is idempotent."""
    text = "\n".join(" " * indent + line for indent, line in lines)
    try:
        made = format_text(text)
    except PipelineFileError:
        return
    assert read("x", text).value == read("x", made).value
    assert made == format_text(made)


def test_the_file_keeps_its_permissions(tmp_path):
    """It is replaced atomically; no other file is left in the folder."""
    path = tmp_path / "a.yaml"
    path.write_text("a:\n    batch: {image:  i:1}\n")
    path.chmod(0o640)
    result = run(path)
    assert (0, f"{path}: formatted\n") == (result.exit_code, result.stdout)
    assert "a:\n  batch: {image: i:1}\n" == path.read_text()
    assert 0o640 == path.stat().st_mode & 0o777
    assert ["a.yaml"] == [each.name for each in tmp_path.iterdir()]


def test_check_and_diff_do_not_write_files(tmp_path):
    """`--check` sets the exit code; `--diff` prints the changes."""
    path = tmp_path / "a.yaml"
    path.write_text("a:\n    batch: {image: i:1}\n")
    assert (1, f"{path}: would be formatted\n") == (run(path, "--check").exit_code, run(path, "--check").stdout)
    assert "-    batch: {image: i:1}\n+  batch: {image: i:1}\n" in run(path, "--diff").stdout
    assert "a:\n    batch: {image: i:1}\n" == path.read_text()


def test_invalid_yaml_is_left_unchanged(tmp_path):
    """Exit code 1 with the position; other files are still formatted."""
    (tmp_path / "bad.yaml").write_text("a: [1\n")
    (tmp_path / "good.yaml").write_text("a:   1")
    result = run(tmp_path)
    assert 1 == result.exit_code
    assert f"{tmp_path}/bad.yaml:2:1: error: invalid YAML" in result.stderr
    assert ("a: [1\n", "a: 1\n") == ((tmp_path / "bad.yaml").read_text(), (tmp_path / "good.yaml").read_text())


def test_stdin_is_formatted_to_stdout():
    """With `-`, for editors."""
    assert "a:\n  b: 1\n" == run("-", stdin="a:\n     b: 1").stdout
