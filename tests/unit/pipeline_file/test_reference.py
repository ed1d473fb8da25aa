"""The generated tables of docs/pipeline-file.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from airflow_batchemr.pipeline_file.json_schema import json_schema
from airflow_batchemr.pipeline_file.known_keys import JOB_KEYS, PIPELINE_KEYS
from airflow_batchemr.pipeline_file.models.batch import DEFINITION_OPTIONS
from airflow_batchemr.pipeline_file.reference import update

DOCUMENT = (Path(__file__).parents[3] / "docs" / "pipeline-file.md").read_text()
#: Parts of the schema without a table: they are not models, or are described in the text.
WITHOUT_TABLE = {"Assets", "Continuous", "Defaults", "Environment", "FlatPipeline", "Ulimit", "variable"}


def table(name: str) -> str:
    """The generated table of a model."""
    return update(f"<!-- keys: {name} -->\n<!-- end -->")


def rows(name: str) -> dict[str, list[str]]:
    """Type, default and description by key."""
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table(name).splitlines() if line.startswith("| `")]
    return {key.strip(" `"): [cell.strip() for cell in rest] for key, *rest in cells}


def test_the_tables_are_up_to_date():
    """To update them, run `python -m airflow_batchemr.pipeline_file.reference`."""
    assert DOCUMENT == update(DOCUMENT)


def test_every_model_has_a_table():
    """And every table has a model."""
    documented = re.findall(r"<!-- keys: (\w+) -->", DOCUMENT)
    assert sorted(json_schema()["$defs"].keys() - WITHOUT_TABLE) == sorted(documented)


@pytest.mark.parametrize(("name", "keys"), [("Pipeline", PIPELINE_KEYS), ("Job", JOB_KEYS)])
def test_a_table_has_a_row_for_each_key(name, keys):
    """Including the keys that are not fields of the model, such as `matrix`."""
    assert set(keys) == set(rows(name))
    assert all(description for _, _, description in rows(name).values())


@pytest.mark.parametrize(
    ("name", "key", "kind", "default"),
    [
        ("Job", "array", "1 to 1,000,000 or mapping or template", ""),
        ("Batch", "timeout", "duration or template", ""),
        ("Job", "retries", "0 to 100", "3, only after failures of the platform"),
        (
            "Job",
            "retry_delay",
            "duration",
            "30 seconds; with `retries`, Airflow's `[core] default_task_retry_delay` (5 minutes)",
        ),
        ("Pipeline", "overlap", "`wait`, `terminate`", "runs may overlap"),
        ("Pipeline", "catchup", "true, false", "`false`"),
        ("Pipeline", "start_date", "date", "no past runs are scheduled"),
        ("Pipeline", "state", "`s3://…`", "Airflow's `[batchemr] state`"),
        ("Fleet", "spot_timeout", "duration", "`10m`"),
        ("Fleet", "types", "text or list", "required"),
        ("Spark", "driver_memory", "size", "Spark's"),
        ("Spark", "args", "text or list", ""),
        ("Step", "hive", "text or mapping", ""),
    ],
)
def test_type_and_default_are_derived_from_the_model(name, key, kind, default):
    """From the field's type and default, or the default that its description ends with."""
    assert [kind, default] == rows(name)[key][:2]


def test_options_of_the_job_definition_say_that_they_need_an_image():
    """Those that the check for existing job definitions rejects, and no others."""
    described = [name for name, (*_, description) in rows("Batch").items() if description.endswith("needs `image`.")]
    assert list(DEFINITION_OPTIONS) == described
