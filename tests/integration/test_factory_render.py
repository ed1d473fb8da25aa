"""`batchemr render`: plain Airflow code for the same Dags as those of the factory."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from typer.testing import CliRunner

EXAMPLES = sorted((Path(__file__).parents[2] / "dags_examples").glob("*.yaml"))

#: Pipelines that use most of the pipeline language.
RICH = """
    nightly:
      description: |
        Splits, scores
        and "reports" it.
      schedule: '30 2 * * 1-5'
      timezone: Europe/Berlin
      start_date: 2026-11-01
      end_date: 2027-01-01T06:00:00+02:00
      max_active_runs: 2
      tags: [b, a]
      owner: data-team
      deadline: 3h
      notify:
        - {email: [team@example.com], when: on_change_and_failures, after: 2}
        - {notifier: airflow.providers.smtp.notifications.smtp.SmtpNotifier, with: {to: a@example.com}}
      params:
        day: {title: The day, description: What is reported of, type: string, format: date, default: '2026-01-01'}
        factor: 1.5
      state: s3://data/_ledger
      clusters:
        spark: {release: emr-7.5.0, type: m5.xlarge, instances: 4, market: spot, log_uri: s3://logs}
      jobs:
        import: {batch: {image: 'etl:1', queue: data, command: [sh, -c, 'echo "$X" ''y'' \\ é'], env: {X: "a\\nb"}}}
        split: {after: import, array: 50, batch: {image: 'etl:1', queue: data, command: split.sh}, retries: 2}
        score:
          after: {split: finished, import: succeeded}
          array: {pack: s3://data/split/, into: 100}
          batch: {image: 'ml:2', queue: data, memory: [4GiB, 8GiB], attempts: 3, command: score.py}
          inputs: s3://data/split
          outputs: [s3://data/scores, s3://data/more]
          notify: {email: me@example.com}
          pool: aws
          retry_delay: 90s
        report: {after: score, emr: {cluster: spark}, spark: {py: s3://code/report.py, args: ['{{ ds }}']}}
        own: {after: score, emr: {type: m5.xlarge, instances: 2, log_uri: s3://logs}, steps: [[hive, -f, x.sql]]}
        both: {after: own, emr: {type: m5.xlarge, instances: 2}, batch: {image: 'a:1', queue: data, command: x}}
        any:
          operator: airflow.providers.standard.operators.bash.BashOperator
          with: {bash_command: 'true', execution_timeout: 300}
    after-assets:
      schedule: {after_assets: [s3://a, {any: [s3://b, s3://c]}]}
      batch: {image: 'e:1', queue: q, command: x}
    every: {schedule: {every: 2h}, batch: {image: 'e:1', queue: q, command: x}}
    once: {schedule: '@once', batch: {image: 'e:1', queue: q, command: x}}
"""


def dags_of(folder):
    """Return the serialized Dags of a folder, without their file locations."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization

    bag = DagBag(folder, bundle_path=folder)
    assert bag.import_errors == {}
    dags = {}
    for name, dag in bag.dags.items():
        data = DagSerialization.to_dict(dag)
        for place in ("fileloc", "relative_fileloc", "_processor_dags_folder"):
            data["dag"].pop(place, None)
        dags[name] = json.loads(json.dumps(data, sort_keys=True))
    return dags


@pytest.mark.parametrize(
    "text", [*[path.read_text() for path in EXAMPLES], RICH], ids=[*[p.stem for p in EXAMPLES], "rich"]
)
def test_the_rendered_file_builds_the_same_dags(text, tmp_path, airflow_db):
    """Their serialized forms differ only in the file locations."""
    from airflow_batchemr.cli.render import app

    made, rendered = tmp_path / "made", tmp_path / "rendered"
    made.mkdir()
    rendered.mkdir()
    (made / "p.yaml").write_text(textwrap.dedent(text))
    (made / "dags.py").write_text(
        "# dag of airflow\nfrom airflow_batchemr import load_pipelines\nload_pipelines(globals(), 'p.yaml')"
    )
    result = CliRunner().invoke(app, [str(made / "p.yaml"), "-o", str(rendered / "p.py")])
    assert (result.exit_code, result.output) == (0, "")
    expected = dags_of(made)
    assert expected
    assert dags_of(rendered) == expected


def test_the_rendered_file_is_clean_python(tmp_path):
    """It is meant to be maintained: a linter finds nothing, and imports are sorted."""
    from airflow_batchemr.cli.render import app

    (tmp_path / "p.yaml").write_text(textwrap.dedent(RICH))
    text = CliRunner().invoke(app, [str(tmp_path / "p.yaml")]).output
    compile(text, "p.py", "exec")
    assert text.splitlines()[0] == '"""The pipelines of p.yaml, as Airflow code."""'
    assert '    split = BatchArrayOperator(\n        task_id="split",\n' in text
    assert "    _import >> split\n" in text
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "I,E,F,W", "--ignore", "E501", "-"]
    done = subprocess.run(ruff, input=text, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "All checks passed!\n")


def test_a_whole_number_of_vcpus_is_written_as_an_integer(tmp_path):
    """`vcpus: 2` becomes `vcpus=2`; a fraction for Fargate stays a fraction."""
    from airflow_batchemr.cli.render import app

    batch = (
        "{image: 'a:1', queue: q, command: x, vcpus: %s, platform: fargate, execution_role: 'arn:aws:iam::1:role/x'}"
    )
    sizes = ("2, memory: 4GiB", "2.0, memory: 4GiB", "0.25")
    file = tmp_path / "p.yaml"
    file.write_text("".join(f"p{n}: {{batch: {batch % size}}}\n" for n, size in enumerate(sizes)))
    text = CliRunner().invoke(app, [str(file)]).output
    assert re.findall(r"vcpus=(\S+),", text) == ["2", "2", "0.25"]


def test_a_file_with_errors_is_not_rendered(tmp_path):
    """The errors are shown as by `validate`, and nothing is written."""
    from airflow_batchemr.cli.render import app

    (tmp_path / "p.yaml").write_text("p:\n  schedul: x\n")
    result = CliRunner().invoke(app, [str(tmp_path / "p.yaml"), "-o", str(tmp_path / "p.py")])
    assert result.exit_code == 1
    assert "p.yaml:2:3: error: unknown key `schedul`" in result.output
    assert not (tmp_path / "p.py").exists()


def test_an_existing_file_is_not_overwritten(tmp_path):
    """It may contain changes."""
    from airflow_batchemr.cli.render import app

    (tmp_path / "p.yaml").write_text("p: {batch: {image: 'e:1', queue: q, command: x}}\n")
    (tmp_path / "p.py").write_text("mine")
    result = CliRunner().invoke(app, [str(tmp_path / "p.yaml"), "-o", str(tmp_path / "p.py")])
    assert result.exit_code == 1
    assert "already exists" in result.output
    assert (tmp_path / "p.py").read_text() == "mine"
