"""`batchemr validate`: reports every error with its position, without Airflow."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from airflow_batchemr.cli.validate import app

ROOT = Path(__file__).parents[3]
GOOD = "good: {batch: {image: 'i:1', queue: q, command: c}}\n"
WARNED = "warned: {batch: {image: 'i:latest', queue: q, command: c}}\n"
BAD = "bad:\n  shedule: '@daily'\n  batch: {image: 'i:1', queue: q, command: c}\n"


def run(*args: object):
    """The command's result."""
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def folder(tmp_path):
    """A valid file, one with a warning and an invalid one."""
    for name, text in (("good", GOOD), ("warned", WARNED), ("bad", BAD)):
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def test_the_file_from_the_article_is_valid(tmp_path):
    """It has warnings, and the exit code is 0."""
    result = run(ROOT / "tests/unit/pipeline_file/valid/life_after_spark.yaml")
    assert 0 == result.exit_code
    assert "1 file, 3 pipelines: 0 errors, 5 warnings\n" == result.stdout.splitlines(keepends=True)[-1]


def test_strict_ignores_notes_about_sundial_files(tmp_path):
    """They cannot be fixed in Sundial's JSON, so that they must not fail CI."""
    (tmp_path / "defaults.yaml").write_text("defaults: {batch: {queue: q}}\n")
    file = shutil.copy(ROOT / "tests/data/sundial/dynamic_cluster.json", tmp_path)
    result = run(file, "--strict")
    assert (0, True) == (result.exit_code, ": note: " in result.stdout)
    assert "0 errors, 0 warnings, " in result.stdout.splitlines()[-1]
    severities = {json.loads(line)["severity"] for line in run(file, "--json").stdout.splitlines()}
    assert {"note"} == severities


def test_an_error_is_shown_with_its_line(folder):
    """File, line, column, the line with a caret, the hint; exit code 1."""
    result = run(folder / "bad.yaml")
    expected = (
        f"{folder}/bad.yaml:2:3: error: unknown key `shedule`\n"
        "    2 |   shedule: '@daily'\n"
        "      |   ^^^^^^^\n"
        "      = did you mean `schedule`?\n"
        "\n"
        "1 file, 1 pipeline: 1 error, 0 warnings\n"
    )
    assert (1, expected) == (result.exit_code, result.stdout)


@pytest.mark.parametrize(
    ("args", "code"),
    [(["good"], 0), (["warned"], 0), (["warned", "--strict"], 1), (["good", "--strict"], 0), (["good", "bad"], 1)],
)
def test_the_exit_code(folder, args, code):
    """1 on errors, and with `--strict` on warnings."""
    assert code == run(*(arg if arg.startswith("-") else folder / f"{arg}.yaml" for arg in args)).exit_code


def test_json_prints_one_object_per_line(folder):
    """And nothing else on stdout."""
    result = run(folder, "--json")
    errors = [json.loads(line) for line in result.stdout.splitlines()]
    assert ["bad.yaml", "warned.yaml"] == [Path(error["path"]).name for error in errors]
    assert {
        "path": str(folder / "bad.yaml"),
        "line": 2,
        "column": 3,
        "severity": "error",
        "pipeline": "bad",
        "message": "unknown key `shedule`",
        "hint": "did you mean `schedule`?",
    } == errors[0]


def test_all_files_of_a_folder_are_checked(folder):
    """Including subfolders; `defaults.yaml` and hidden files are skipped."""
    (folder / "inner").mkdir()
    (folder / "inner" / "more.yml").write_text(GOOD.replace("good", "more"))
    (folder / "defaults.yaml").write_text("defaults: {retries: 1}\n")
    (folder / ".hidden.yaml").write_text("no yaml: [\n")
    assert "4 files, 4 pipelines: 1 error, 1 warning\n" == run(folder).stdout.splitlines(keepends=True)[-1]


def test_two_pipelines_with_the_same_name_are_an_error(folder):
    """They would be the same Dag. The error names both places; a link to the same file is no second definition."""
    (folder / "other.yaml").write_text(f"# ours\n{GOOD}")
    (folder / "link.yaml").symlink_to(folder / "good.yaml")
    result = run(folder / "good.yaml", folder / "other.yaml", folder / "link.yaml")
    assert 1 == result.exit_code
    assert f"{folder}/good.yaml:1:1: error: pipeline good is also defined at {folder}/other.yaml:2:1" in result.stdout
    assert f"{folder}/other.yaml:2:1: error: pipeline good is also defined at {folder}/good.yaml:1:1" in result.stdout
    assert "3 files, 3 pipelines: 2 errors" in result.stdout


def test_a_missing_file_is_an_error(tmp_path):
    """With its path, without a traceback."""
    result = run(tmp_path / "none.yaml")
    assert (1, f"{tmp_path}/none.yaml: error: cannot read the file: No such file or directory") == (
        result.exit_code,
        result.stdout.splitlines()[0],
    )


def test_an_empty_folder_is_an_error(tmp_path):
    """Because nothing was checked."""
    assert 1 == run(tmp_path).exit_code


def test_the_environment_can_be_selected(tmp_path):
    """`-e` applies the defaults of that environment."""
    path = tmp_path / "a.yaml"
    path.write_text("env: {dev: {vars: {n: 1}}, prod: {vars: {n: 11}}}\n" + GOOD.replace("{i", "{attempts: '${n}', i"))
    assert (0, 1) == (run(path, "-e", "dev").exit_code, run(path, "-e", "prod").exit_code)


def test_no_airflow_is_imported(folder):
    """Nor boto3, moto or pendulum."""
    code = (
        "import sys, runpy; sys.argv = ['batchemr', 'validate', sys.argv[1]]\n"
        "from airflow_batchemr.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([name for name in ('airflow', 'boto3', 'moto', 'pendulum') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], check=True, capture_output=True, text=True)
    assert "[]" == done.stdout.splitlines()[-1]


def test_the_pre_commit_hooks_run_the_commands():
    """The hooks are defined with their ids and entry points."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert ["batchemr-validate", "batchemr-fmt"] == [hook["id"] for hook in hooks]
    assert ["batchemr validate", "batchemr fmt"] == [hook["entry"] for hook in hooks]


def test_every_environment_is_checked(tmp_path):
    """Without `-e`, an error in any environment is found, and is reported once."""
    path = tmp_path / "a.yaml"
    path.write_text(
        "env: {dev: {vars: {n: 1}}, prod: {vars: {n: 11}}}\n"
        "a: {batch: {image: 'i:1', queue: '${environment}', command: c, attempts: '${n}'}}\n"
        "b: {batch: {image: 'i:1', queue: q, command: c, timeout: 5}}\n"
    )
    messages = [json.loads(line)["message"] for line in run(path, "--json").stdout.splitlines()]
    assert ["AWS Batch takes a timeout of at least 60 seconds, not 5", "must be at most 10, not 11"] == messages
    assert ["AWS Batch takes a timeout of at least 60 seconds, not 5"] == [
        json.loads(line)["message"] for line in run(path, "--json", "-e", "dev").stdout.splitlines()
    ]


def test_an_error_in_a_folders_defaults_is_reported_once(folder):
    """Not once for each file of the folder."""
    (folder / "defaults.yaml").write_text("defaults: {retires: 1}\n")
    assert 1 == run(folder).stdout.count("unknown key `retires`")


def test_sundial_files_are_checked(tmp_path):
    """`.json` files contain Sundial process definitions."""
    path = tmp_path / "a.json"
    path.write_text('{"process_definition_name": "a", "task_definitions": []}')
    assert "1 file, " in run(path).stdout
