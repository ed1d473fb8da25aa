"""`batchemr import`: output files, reports, exit codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from airflow_batchemr.cli.import_ import app
from airflow_batchemr.pipeline_file import load_file
from tests.unit.importers.state_machines import batch, machine

DATA = Path(__file__).parents[2] / "data"
EVERY = DATA / "sundial" / "every_field.json"
NIGHTLY = DATA / "step_functions" / "nightly.asl.json"


def run(*arguments):
    """The command's exit code, output and report."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize(
    ("command", "source", "name"), [("sundial", EVERY, "every_field.yaml"), ("step-functions", NIGHTLY, "nightly.yaml")]
)
def test_files_are_written_with_their_notes_and_load(command, source, name, tmp_path):
    """One pipeline file per source, in a new folder; the report names it."""
    code, _, report = run(command, source, "-o", tmp_path / "new" / "pipelines")
    made = tmp_path / "new" / "pipelines" / name
    assert code == 0
    assert [name] == [path.name for path in made.parent.iterdir()]
    assert load_file(made).errors == []
    assert f"{source} → {made}: " in report
    assert "    # " in made.read_text()


def test_every_note_is_in_the_file_and_in_the_report(tmp_path):
    """And in the JSON report."""
    _, lines, _ = run("sundial", EVERY, "-o", tmp_path, "--json")
    _, _, report = run("sundial", EVERY, "-o", tmp_path)
    text = " ".join((tmp_path / "every_field.yaml").read_text().replace("#", " ").split())
    messages = [record["message"] for record in map(json.loads, lines.splitlines()) if record["severity"] == "note"]
    assert len(messages) > 10
    missing = [message for message in messages if message not in text or message not in " ".join(report.split())]
    assert missing == []


def test_without_a_folder_the_pipelines_are_printed(tmp_path):
    """On standard output; the report is on standard error."""
    code, out, report = run("sundial", EVERY)
    path = tmp_path / "printed.yaml"
    path.write_text(out)
    assert (code, list(load_file(path).pipelines)) == (0, ["every-field", "round-and-round"])
    assert "2 pipelines" in report


def test_an_import_can_be_repeated_but_does_not_overwrite_changes(tmp_path):
    """An existing file with the same content is accepted; one with other content is kept."""
    run("sundial", EVERY, "-o", tmp_path)
    again = run("sundial", EVERY, "-o", tmp_path)[0]
    made = tmp_path / "every_field.yaml"
    made.write_text("mine: {}\n")
    code, _, report = run("sundial", EVERY, "-o", tmp_path)
    assert (again, code, made.read_text()) == (0, 1, "mine: {}\n")
    assert "already exists with different content" in report
    assert [path.name for path in tmp_path.iterdir()] == ["every_field.yaml"]


def test_an_invalid_file_does_not_affect_others(tmp_path):
    """Each file is reported separately; the valid ones are written; exit code 1."""
    bad = tmp_path / "bad.json"
    bad.write_text("{")
    code, _, report = run("sundial", bad, tmp_path / "missing.json", EVERY, "-o", tmp_path / "out")
    assert code == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["every_field.yaml"]
    assert f"{bad}:1:2: error: invalid JSON" in report
    assert "missing.json: error: cannot be read: No such file or directory" in report


def test_a_schedule_that_cannot_be_imported_is_an_error(tmp_path):
    """In the file, in the report and in the exit code."""
    source = tmp_path / "p.json"
    data = json.loads(EVERY.read_text())[1]
    data["schedule"] = {
        "cron_schedule": {"minutes": "0", "hours": "1", "day_of_month": "L-3", "month": "*", "day_of_week": "?"}
    }
    source.write_text(json.dumps(data))
    code, _, report = run("sundial", source, "-o", tmp_path)
    assert code == 1
    assert "the Quartz schedule '0 1 L-3 * ?' has no exact cron equivalent" in report
    assert "# NOT IMPORTED: the Quartz schedule '0 1 L-3 * ?'" in (tmp_path / "p.yaml").read_text()


def test_two_pipelines_with_the_same_name_are_an_error(tmp_path):
    """They would be the same Dag."""
    shutil.copy(EVERY, tmp_path / "a.json")
    shutil.copy(EVERY, tmp_path / "b.json")
    code, _, report = run("sundial", tmp_path / "a.json", tmp_path / "b.json", "-o", tmp_path / "out")
    assert code == 1
    assert f"{tmp_path / 'a.json'} already has a pipeline named every-field" in report


def test_two_sources_with_the_same_name_are_an_error(tmp_path):
    """The first one is written."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(EVERY, tmp_path / folder / "x.json")
    code, _, report = run("sundial", tmp_path / "a" / "x.json", tmp_path / "b" / "x.json", "-o", tmp_path / "out")
    assert code == 1
    assert "would be written to the same file, x.yaml" in report
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["x.yaml"]


def test_the_default_queue_can_be_set(tmp_path):
    """It applies to jobs without a queue."""
    run("sundial", EVERY, "-o", tmp_path, "--queue", "ours")
    jobs = load_file(tmp_path / "every_field.yaml").pipelines["every-field"].jobs
    assert (jobs["extract"].batch.queue, jobs["legacy-step"].batch.queue) == ("priority", "ours")


def test_the_json_report_has_positions_and_a_summary():
    """One object per line, each with its source; the last one of a file is the summary."""
    code, out, _ = run("step-functions", NIGHTLY, "--json")
    records = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert {name: records[-1][name] for name in ("severity", "pipelines", "errors")} == {
        "severity": "summary",
        "pipelines": ["nightly"],
        "errors": 0,
    }
    assert "$.TimeoutSeconds" in [record.get("at") for record in records]
    assert {str(NIGHTLY)} == {record["source"] for record in records}


def test_errors_in_the_imported_pipeline_file_are_reported(tmp_path):
    """A value that Sundial allowed and AWS does not is an error with a position in the pipeline file."""
    source = tmp_path / "p.json"
    data = json.loads(EVERY.read_text())[1]
    command = data["task_definitions"][0]["executable"]["batch_image_command"]
    command["environment_variables"] = [{"variable_name": "AWS_BATCH_X", "value": "1"}]
    source.write_text(json.dumps(data))
    code, _, report = run("sundial", source, "-o", tmp_path)
    assert code == 1
    assert "AWS_BATCH" in report
    assert f"{tmp_path / 'p.yaml'}:" in report


def test_a_folder_that_is_not_writable_is_an_error(tmp_path):
    """Without a traceback."""
    (tmp_path / "file").write_text("")
    code, _, report = run("sundial", EVERY, "-o", tmp_path / "file" / "out")
    assert code == 1
    assert "cannot be written: Not a directory" in report


def test_a_state_machine_whose_pipeline_does_not_load_is_not_written(tmp_path):
    """The errors are reported; a timeout of less than 60 seconds is rejected by AWS as well."""
    source = tmp_path / "short.json"
    source.write_text(json.dumps(machine(batch({"Timeout": {"AttemptDurationSeconds": 5}}))))
    code, _, report = run("step-functions", source, "-o", tmp_path / "out")
    assert (code, (tmp_path / "out").exists()) == (1, False)
    assert f"{source}:1:34: error: AWS Batch takes a timeout of at least 60 seconds, not 5" in report


def test_the_defaults_of_the_folder_apply_to_an_imported_state_machine(tmp_path):
    """They may contain errors, or what the pipeline needs."""
    source = tmp_path / "m.json"
    source.write_text(json.dumps(machine(batch())))
    (tmp_path / "defaults.yaml").write_text("defaults: {retries: many}\n")
    assert run("step-functions", source, "-o", tmp_path)[0] == 1
    assert not (tmp_path / "m.yaml").exists()
