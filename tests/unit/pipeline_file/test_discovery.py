"""Finding the files of a folder that define a pipeline."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from airflow_batchemr.pipeline_file import files_for, find_files, load_file
from airflow_batchemr.pipeline_file import load as loading

JOB = "{image: 'etl:1', queue: data, command: run.sh}"
OPENED: list[str] = []


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and str(arguments[0]).endswith((".yaml", ".json")):
        OPENED.append(Path(str(arguments[0])).name)


sys.addaudithook(_note)


@pytest.fixture
def folder(tmp_path):
    """`folder(files)` creates a folder with these files."""

    def write(files):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(text.encode())
        return tmp_path

    return write


@pytest.fixture
def load_one(monkeypatch):
    """`load_one(folder, name)` loads a pipeline like a worker; returns it with the opened and parsed files."""
    parsed = []
    read = loading.read

    def noted(path, text):
        parsed.append(Path(path).name)
        return read(path, text)

    monkeypatch.setattr(loading, "read", noted)

    def load(path, name):
        OPENED.clear()
        parsed.clear()
        found = [load_file(file, only=name).pipelines.get(name) for file in files_for(path, name)]
        return next(filter(None, found), None), list(OPENED), list(parsed)

    return load


def test_only_the_file_that_defines_the_pipeline_is_parsed(folder, load_one):
    """In a folder of 100 files with other names, each file is searched once, unparsed, and one is parsed."""
    files = {f"f{n:02d}.yaml": f"p{n:02d}:\n  schedule: '@daily'\n  batch: {JOB}\n" for n in range(100)}
    found, opened, parsed = load_one(folder(files), "p90")
    assert (found.name, ["f90.yaml"]) == ("p90", parsed)
    assert sorted([*files, "f90.yaml"]) == sorted(opened)


def test_a_file_named_like_the_pipeline_is_the_only_one_parsed(folder, load_one):
    """The other files are searched once for a second definition."""
    files = {f"f{n:02d}.yaml": f"p{n:02d}: {{batch: {JOB}}}\n" for n in range(10)}
    found, opened, parsed = load_one(folder({**files, "sub/theirs.yaml": f"theirs: {{batch: {JOB}}}\n"}), "theirs")
    assert ("theirs", ["theirs.yaml"]) == (found.name, parsed)
    assert sorted([*files, "theirs.yaml"]) == sorted(opened)


def test_a_name_elsewhere_in_a_file_is_not_a_match(folder, load_one):
    """Only a top-level key matches."""
    text = f"a:\n  schedule: '@daily'\n  description: 'like jobs: but another'\n  jobs: {{x: {{batch: {JOB}}}}}\n"
    last = f"jobs_of_all:\n  batch: {JOB}\n"
    found, _, parsed = load_one(folder({"a.yaml": text, "b.yaml": f"---\n{text}", "c.yaml": last}), "jobs_of_all")
    assert ("jobs_of_all", ["c.yaml"]) == (found.name, parsed)


LAYOUTS = {
    "plain": f"x_eu:\n  batch: {JOB}\n",
    "document": f"--- # ours\nx_eu:\n  batch: {JOB}\n",
    "flow": f"{{x_eu: {{batch: {JOB}}}}}\n",
    "flow in a document": f"--- {{x_eu: {{batch: {JOB}}}}}\n",
    "quoted": f"'x_eu': {{batch: {JOB}}}\n",
    "escaped": f'"x\\x5feu": {{batch: {JOB}}}\n',
    "complex": f"? x_eu\n: {{batch: {JOB}}}\n",
    "merged": f"<<: {{x_eu: {{batch: {JOB}}}}}\n",
    "alias": f"defaults: {{tags: [&name x_eu]}}\n*name : {{batch: {JOB}}}\n",
    "anchor": f"&one x_eu: {{batch: {JOB}}}\n",
    "space": f"x_eu :\n  batch: {JOB}\n",
    "mark": f"\ufeffx_eu: {{batch: {JOB}}}\n",
    "windows": f"y: {{batch: {JOB}}}\r\nx_eu:\r\n  batch: {JOB}\r\n",
    "old mac": f"y: {{batch: {JOB}}}\rx_eu:\r  batch: {JOB}\r",
    "line separator": f"y: {{batch: {JOB}}}\u2028x_eu: {{batch: {JOB}}}\n",
    "indented": f"# ours\n\n  y: {{batch: {JOB}}}\n  x_eu: {{batch: {JOB}}}\n",
    "indented document": f"---\n  x_eu: {{batch: {JOB}}}\n",
    "matrix": f"x:\n  matrix: {{region: [us, eu]}}\n  batch: {JOB}\n",
    "folder's variable": f"x: {{matrix: {{region: '${{regions}}'}}, batch: {JOB}}}\n",
}


@pytest.mark.parametrize("text", LAYOUTS.values(), ids=list(LAYOUTS))
def test_a_pipeline_is_found_in_any_yaml_style(folder, load_one, text):
    """Even if other files contain a similar name."""
    files = {"a.yaml": f"x_e: {{batch: {JOB}}}\n", "b.yaml": "{x: [\n", "defaults.yaml": "vars: {regions: [eu]}\n"}
    path = folder({**files, "m.yaml": text})
    assert "x_eu" in load_file(path / "m.yaml").pipelines
    found, opened, parsed = load_one(path, "x_eu")
    assert found == load_file(path / "m.yaml").pipelines["x_eu"]
    assert "a.yaml" not in parsed
    assert len(opened) <= 8


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Nightly  Import!", "Nightly-Import"),
        ("Caf\u00e9 daily", "Caf-daily"),
        ("!!", "process"),
        ("a" * 200, "a" * 124),
        ('say "hello"', "say-hello"),
    ],
)
def test_a_sundial_process_is_found_by_a_part_of_its_name(folder, load_one, written, name):
    """The importer replaces characters that AWS does not allow; files that cannot contain the name are not parsed."""
    command = {"batch_image_command": {"image": "i", "tag": "1", "command": ["c"], "memory": 512, "vCpus": 1}}
    task = {"task_definition_name": "t", "executable": command, "max_attempts": 1, "backoff_base_seconds": 1}
    process = {"process_definition_name": written, "task_definitions": [task]}
    other = {"process_definition_name": "Other", "task_definitions": []}
    files = {
        "a.json": json.dumps(other),
        "b.json": json.dumps(process),
        "defaults.yaml": "defaults: {batch: {queue: q}}",
    }
    path = folder(files)
    assert [name] == list(load_file(path / "b.json").pipelines)
    assert name == load_one(path, name)[0].name
    assert name == "process" or [path / "b.json"] == list(files_for(path, name))


def test_the_files_of_a_folder_are_sorted_by_path(folder):
    """On every machine, the same one of two pipelines with the same name comes first."""
    path = folder(dict.fromkeys(("b.yaml", "a-1/x.yml", "a/z.json", "a.yaml", "defaults.yaml", ".h/x.yaml"), ""))
    assert sorted([path / "b.yaml", path / "a-1/x.yml", path / "a/z.json", path / "a.yaml"]) == find_files(path)
