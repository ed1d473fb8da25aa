"""`batchemr graph`: the jobs of a pipeline and their dependencies."""

from __future__ import annotations

import json
import textwrap
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from airflow_batchemr.cli.graph import app

PIPELINES = """
defaults: {batch: {queue: q, image: 'i:1'}}
nightly:
  schedule: '0 1 * * *'
  clusters:
    spark: {type: m5.xlarge, instances: 2, log_uri: s3://logs/}
  jobs:
    split: {array: 50, batch: {command: a}}
    score: {after: {split: index}, array: 50, batch: {command: b}}
    check: {after: {split: finished}, batch: {command: c}}
    report: {after: [score, check], emr: {cluster: spark}, spark: {py: s3://code/x.py}}
flat: {batch: {command: ['<&">']}}
"""


@pytest.fixture
def file(tmp_path):
    """A pipeline file."""
    path = tmp_path / "pipelines.yaml"
    path.write_text(PIPELINES)
    return path


def run(*args: object):
    """The command's result."""
    return CliRunner().invoke(app, [str(arg) for arg in args])


def test_text_is_a_tree(file):
    """Each job is below its upstream job, with its kind, upstream jobs and rules."""
    expected = """\
    nightly (0 1 * * *)
    └─ split         Batch, 50 indices
       ├─ score      Batch, 50 indices, after split (index)
       │  └─ report  Spark on cluster spark, after score, check
       └─ check      Batch, after split (finished)

    flat (no schedule)
    └─ flat  Batch
    """
    assert textwrap.dedent(expected) == run(file).stdout


def test_mermaid_has_nodes_edges_and_rules(file):
    """A node for each job and cluster, and an edge for each `after`."""
    expected = """\
    flowchart LR
      j0["split<br/>Batch, 50 indices"]
      j1["score<br/>Batch, 50 indices"]
      j2["check<br/>Batch"]
      j3["report<br/>Spark on cluster spark"]
      j0 -->|index| j1
      j0 -->|finished| j2
      j1 --> j3
      j2 --> j3
      c0(["spark<br/>EMR cluster"])
      c0 -.- j3
    """
    assert textwrap.dedent(expected) == run(file, "-p", "nightly", "-f", "mermaid").stdout


def test_svg_has_a_box_per_job_and_an_arrow_per_dependency(file):
    """It is valid XML; downstream jobs are further to the right."""
    root = ET.fromstring(run(file, "-p", "nightly", "-f", "svg").stdout)  # noqa: S314 - our own
    space = "{http://www.w3.org/2000/svg}"
    columns = [int(box.get("x")) for box in root.findall(f"{space}rect")]
    assert 4 == len(root.findall(f"{space}path"))
    assert [20, 300, 300, 580] == columns
    texts = [text.text for text in root.findall(f"{space}text")]
    assert {"split", "score", "check", "report", "index", "finished"} <= set(texts)


def test_json_lists_pipelines_with_jobs_and_dependencies(file):
    """A list of pipelines, each with its jobs, their upstream jobs, and its clusters."""
    nightly, flat = json.loads(run(file, "-f", "json").stdout)
    assert {"name": "score", "kind": "Batch, 50 indices", "after": {"split": "index"}} == nightly["jobs"][1]
    assert ("flat", ["spark"], []) == (flat["pipeline"], nightly["clusters"], flat["clusters"])


def test_svg_requires_a_single_pipeline(file):
    """Without `-p`, the error lists the pipelines."""
    result = run(file, "-f", "svg")
    assert (1, "") == (result.exit_code, result.stdout)
    assert "SVG shows a single pipeline; choose one with --pipeline: nightly, flat\n" == result.stderr


def test_a_similar_name_is_suggested_for_an_unknown_pipeline(file):
    """With exit code 1."""
    result = run(file, "-p", "nihgtly")
    assert (1, f"{file} has no pipeline named nihgtly; did you mean `nightly`?\n") == (result.exit_code, result.stderr)


def test_an_invalid_pipeline_does_not_affect_others(file):
    """The valid ones are rendered, the errors are printed, and the exit code is 1."""
    file.write_text(PIPELINES + "bad: {batch: {comand: x}}\n")
    result = run(file)
    assert 1 == result.exit_code
    assert "flat (no schedule)" in result.stdout
    assert "unknown key `comand`" in result.stderr
    assert 0 == run(file, "-p", "nightly").exit_code


def test_a_long_chain_is_rendered(tmp_path):
    """2,000 sequential jobs."""
    path = tmp_path / "long.yaml"
    jobs = "".join(
        f"    j{n}: {{{f'after: j{n - 1}, ' if n else ''}batch: {{image: 'i:1', queue: q, command: x}}}}\n"
        for n in range(2000)
    )
    path.write_text(f"long:\n  jobs:\n{jobs}")
    assert 2001 == run(path).stdout.count("\n")
