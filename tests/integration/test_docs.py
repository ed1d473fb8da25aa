"""The code and commands in the documentation work."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"


def blocks(page: str, kind: str) -> list[str]:
    """The fenced blocks of a kind in a page."""
    return re.findall(rf"^```{kind}\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


#: All Python code of the documentation for users; architecture.md contains signatures.
SNIPPETS = [
    pytest.param(block, id=f"{page}-{number}")
    for page in ("README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))
    if page != "docs/architecture.md"
    for number, block in enumerate(blocks(page, "python"), 1)
]


@pytest.fixture
def shell(tmp_path):
    """`shell(text)` runs pasted commands in the folder of the test."""
    folders = [str(tmp_path / "dags_examples" / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = {**os.environ, "PATH": os.pathsep.join(folders)}

    def run(text, **more):
        command = ["bash", "-euo", "pipefail", "-c", text]
        return subprocess.run(
            command, cwd=tmp_path, env={**environment, **more}, capture_output=True, text=True, check=False
        )

    return run


def submit_one(aws):
    """Replaces the `...` of a snippet: submits a job."""
    batch = aws.client("batch")
    properties = {"image": "i", "command": ["true"], "vcpus": 1, "memory": 128}
    batch.register_job_definition(jobDefinitionName="d", type="container", containerProperties=properties)
    batch.submit_job(jobName="one", jobQueue="default", jobDefinition="d")


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_the_python_code_of_the_documentation_runs(snippet, tmp_path, monkeypatch, airflow_db):
    """As a Dag file next to `nightly.yaml`, or as a test."""
    monkeypatch.chdir(tmp_path)
    (pipeline,) = (block for block in blocks("README.md", "yaml") if "\nnightly:" in block)
    (tmp_path / "nightly.yaml").write_text(pipeline)
    (tmp_path / "programs").mkdir()
    names = {"__file__": str(tmp_path / "dags.py"), "tmp_path": tmp_path, "submit_one": submit_one}
    exec(snippet.replace("    ...\n", "    submit_one(aws)\n"), names)  # noqa: S102 - our documentation
    if "load_pipelines" in snippet:
        assert "nightly" in names


def test_the_policy_of_the_documentation_requires_an_owner(tmp_path, monkeypatch):
    """Its error is reported like one in the file, and its tag is in the Dag."""
    from airflow_batchemr import build_dags
    from airflow_batchemr.pipeline_file import PipelineFileError

    (policy,) = (block for block in blocks("docs/airflow.md", "python") if "def pipeline(" in block)
    (tmp_path / "policy_of_the_docs.py").write_text(policy)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("AIRFLOW__BATCHEMR__POLICY", "policy_of_the_docs.pipeline")
    file = tmp_path / "p.yaml"
    file.write_text("p: {owner: me, batch: {image: 'a:1', queue: q, command: c}}\n")
    assert [{"batch"}] == [dag.tags for dag in build_dags(file)]
    file.write_text("p: {batch: {image: 'a:1', queue: q, command: c}}\n")
    with pytest.raises(PipelineFileError, match="every pipeline has an owner"):
        build_dags(file)


def test_the_program_of_the_tutorial_succeeds_once_its_shard_is_fixed(aws, shell, tmp_path):
    """Uses the tutorial's files and commands on the local AWS."""
    folder = tmp_path / "dags_examples"
    (folder / "bin").mkdir(parents=True)
    scripts = blocks("docs/tutorial.md", "sh")
    (program,) = (text for text in scripts if text.startswith("#!"))
    (folder / "bin" / "count.sh").write_text(program)
    (folder / "bin" / "count.sh").chmod(0o755)
    (pipeline,) = blocks("docs/tutorial.md", "yaml")
    (folder / "pages.yaml").write_text(pipeline)
    (check,) = (text for text in scripts if text.startswith("batchemr validate"))
    assert "0 errors, 0 warnings" in shell(check).stdout
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="data")
    s3.put_object(Bucket="data", Key="shards/17.csv", Body=b"ann,home,3\nbroken line\nbob,home,4\n")
    count = "count.sh s3://data/shards s3://data/pages/2026-11-20"
    failed = shell(count, AWS_BATCH_JOB_ARRAY_INDEX="17")
    assert (65, True) == (failed.returncode, "line 2: not user,page,seconds: broken line" in failed.stderr)
    (fix,) = (text for text in scripts if "awk" in text and not text.startswith("#!"))
    assert 0 == shell(fix).returncode
    assert 0 == shell(count, AWS_BATCH_JOB_ARRAY_INDEX="17").returncode
    assert b"home,2\n" == s3.get_object(Bucket="data", Key="pages/2026-11-20/17.csv")["Body"].read()


def test_the_import_commands_write_pipelines(shell, tmp_path):
    """Both commands, with files that match their arguments."""
    (tmp_path / "processes").mkdir()
    shutil.copy(DATA / "sundial" / "dynamic_cluster.json", tmp_path / "processes")
    shutil.copy(DATA / "step_functions" / "nightly.asl.json", tmp_path / "etl.asl.json")
    (commands,) = (text for text in blocks("docs/import.md", "") if "batchemr import" in text)
    done = shell(commands)
    assert (0, ["dynamic_cluster.yaml", "etl.yaml"]) == (
        done.returncode,
        sorted(path.name for path in (tmp_path / "pipelines").iterdir()),
    )
