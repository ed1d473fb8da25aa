"""A broken file in the Dag folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from demo.airflow import Airflow

BROKEN = """\
good: {schedule: null, batch: {queue: data, image: 'tools:1.0', command: 'true'}}
bad:
  schedule: null
  arrray: 3
  batch: {queue: data, image: 'tools:1.0', command: 'true'}
"""


def test_a_broken_pipeline_is_an_import_error_and_does_not_hide_others(airflow: Airflow, dags_folder: Path) -> None:
    """Airflow shows file, line and a suggestion. The valid pipeline of the same file and all others load."""
    file = dags_folder / "broken.yaml"
    file.write_text(BROKEN)
    try:
        errors = airflow.wait(airflow.import_errors, "the import error")
        airflow.wait_for_dags({"good", "resumed", "cleared"})
    finally:
        file.unlink()
    (text,) = (error["stack_trace"] for error in errors)
    assert "broken.yaml:4:3" in text
    assert "array" in text
    airflow.wait(lambda: not airflow.import_errors(), "the error to disappear")
