"""`batchemr plan` of jobs whose data does not exist."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from airflow_batchemr.cli.plan import app


@pytest.mark.parametrize(("allowed", "expected"), [("true", ("skip", 0, 0)), ("false", ("refused", 1, None))])
def test_missing_data_is_planned_as_in_the_run(aws, tmp_path, allowed, expected):
    """With `allow_empty`, there is nothing to do; otherwise, the run is refused."""
    aws.client("s3").create_bucket(Bucket="empty")
    file = tmp_path / "pipeline.yaml"
    file.write_text(f"""
nothing:
  array: {{pack: 's3://empty/', into: 3, allow_empty: {allowed}}}
  batch: {{image: 'a:1', queue: default, command: 'true'}}
""")
    result = CliRunner().invoke(app, [str(file), "--json"])
    (job,) = json.loads(result.stdout)["jobs"]
    assert expected == (job["does"], result.exit_code, job["of"])


def test_a_missing_bucket_of_the_ledger_is_reported_once(aws, tmp_path):
    """Not for each job. Each object of the JSON output contains the error."""
    file = tmp_path / "pipeline.yaml"
    batch = "batch: {image: 'a:1', queue: default, command: 'true'}"
    file.write_text(f"""
defaults: {{state: s3://nowhere/state}}
two: {{jobs: {{a: {{{batch}}}, b: {{{batch}}}}}}}
one: {{{batch}}}
""")
    result = CliRunner().invoke(app, [str(file)])
    assert (1, "", 1) == (result.exit_code, result.stdout, result.stderr.count("does not exist"))
    printed = [json.loads(line) for line in CliRunner().invoke(app, [str(file), "--json"]).stdout.splitlines()]
    assert [("two", [], True), ("one", [], True)] == [
        (one["pipeline"], one["jobs"], "'nowhere' does not exist" in one["error"]) for one in printed
    ]
