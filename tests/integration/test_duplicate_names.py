"""One name that two files define, in a real DagBag: what the Dag processor shows, and what a worker runs."""

from __future__ import annotations

import json

import pytest

GOOD = "{name}:\n  batch: {{image: 'etl:{tag}', queue: data, command: run.sh}}\n"
CALL = "# a Dag file of airflow\nfrom airflow_batchemr import load_pipelines\n"
DAG_FILE = f"{CALL}load_pipelines(globals(), __file__)\n"
COMMAND = {"batch_image_command": {"image": "etl", "tag": "1", "command": ["c"], "memory": 512, "vCpus": 1}}
TASK = {"task_definition_name": "t", "executable": COMMAND, "max_attempts": 1, "backoff_base_seconds": 1}
SUNDIAL = json.dumps({"process_definition_name": "nightly", "task_definitions": [TASK]}, indent=1)


def good(name: str = "nightly", tag: int = 1) -> str:
    return GOOD.format(name=name, tag=tag)


@pytest.fixture
def parse(tmp_path, airflow_db, monkeypatch):
    """`parse(files)`: as the Dag processor, Dags and import errors; `parse(files, "x")`: as a worker that needs `x`."""
    import structlog
    from airflow.dag_processing.dagbag import DagBag
    from airflow.dag_processing.processor import _serialize_dags

    def load(files, requested=None):
        for name, text in {"dags.py": DAG_FILE, **files}.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        if requested is not None:
            with monkeypatch.context() as worker:
                worker.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", requested)
                bag = DagBag(tmp_path, bundle_path=tmp_path)
            return bag.dags, bag.import_errors
        with monkeypatch.context() as processor:
            processor.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")
            bag = DagBag(tmp_path, bundle_path=tmp_path)
            serialized, errors = _serialize_dags(bag, structlog.get_logger())
        assert bag.import_errors == {}
        return {dag.dag_id: bag.dags[dag.dag_id] for dag in serialized}, errors

    return load


def image(dag):
    return next(task.image for task in dag.tasks if hasattr(task, "image"))


FILES = {
    "a file named like the pipeline": {
        "team_a/pipelines.yaml": good("other") + good(),
        "team_b/nightly.yaml": good(tag=2),
    },
    "both with other names": {"a.yaml": good(), "b.yaml": good(tag=2)},
    "a byte order mark within a file": {"a.yaml": f"# comment\n\ufeff{good()}", "nightly.yaml": good(tag=2)},
    "two byte order marks": {"a.yaml": f"\ufeff\ufeff{good()}", "nightly.yaml": good(tag=2)},
    "a matrix": {
        "a.yaml": good("nightly_eu"),
        "b.yaml": "nightly:\n  matrix: {x: [eu]}\n  batch: {image: 'etl:2', queue: q, command: c}\n",
    },
    "Sundial's JSON": {"a.yaml": good(), "b.json": SUNDIAL, "defaults.yaml": "defaults: {batch: {queue: q}}\n"},
    "unusual YAML": {"a.yaml": "{nightly: {batch: {image: 'etl:1', queue: q, command: c}}}\n", "nightly.yaml": good()},
    "an error in the first": {"a.yaml": f"{good()}  schedul: '@daily'\n", "b.yaml": good(tag=2)},
    "an error in the second": {"a.yaml": good(), "nightly.yaml": f"{good()}  schedul: '@daily'\n"},
}


@pytest.mark.parametrize("files", FILES.values(), ids=list(FILES))
def test_a_name_in_two_files_is_an_error_of_both_and_a_worker_runs_neither(parse, files, tmp_path):
    """Airflow showed the first by path; a worker ran the file that is named like the pipeline."""
    name = "nightly_eu" if "nightly_eu" in "".join(files.values()) else "nightly"
    dags, errors = parse(files)
    first, second = (file for file in sorted(files) if file != "defaults.yaml")
    assert {first, second} == set(errors)
    for here, there in ((first, second), (second, first)):
        assert f"{tmp_path / here}:" in errors[here]
        assert f"pipeline {name} is also defined at {tmp_path / there}:" in errors[here]
    assert "schedul:" in files[first] or image(dags[name]) == "etl:1"
    dags, errors = parse(files, name)
    assert dags == {}
    (error,) = errors.values()
    for there in (first, second):
        assert f"pipeline {name} is also defined at {tmp_path / there}:" in error


def test_both_lines_are_named(parse, tmp_path):
    """Also those of three files: each later one names the first."""
    files = {"a.yaml": f"{good('x')}{good()}", "b.yaml": f"# ours\n{good()}", "c.json": SUNDIAL}
    _, errors = parse({**files, "defaults.yaml": "defaults: {batch: {queue: q}}\n"})
    a, b, c = (f"{tmp_path}/{place}" for place in ("a.yaml:3:1", "b.yaml:2:1", "c.json:1:1"))
    assert f"{a}: error: pipeline nightly is also defined at {b}" in errors["a.yaml"]
    assert f"{a}: error: pipeline nightly is also defined at {c}" in errors["a.yaml"]
    assert f"{b}: error: pipeline nightly is also defined at {a}" in errors["b.yaml"]
    assert f"{c}: error: pipeline nightly is also defined at {a}" in errors["c.json"]


def test_other_dags_are_not_affected(parse):
    """Neither in the Dag processor nor in a worker."""
    files = {"a.yaml": good("mine") + good(), "b.yaml": good(tag=2) + good("yours")}
    assert {"mine", "nightly", "yours"} == set(parse(files)[0])
    for name in ("mine", "yours"):
        assert ([name], {}) == (list((loaded := parse(files, name))[0]), loaded[1])


def test_a_name_twice_in_one_file_is_an_error(parse):
    """As a matrix and as a key, and as the same key."""
    twice = "x:\n  matrix: {r: [eu, us]}\n  batch: {image: 'etl:1', queue: q, command: c}\n" + good("x_eu")
    for name, text, message in (
        ("x_eu", twice, "the file already defines a pipeline named x_eu, in `x` on line 1"),
        ("nightly", good() * 2, "duplicate key `nightly`; first defined on line 1"),
    ):
        dags, errors = parse({"a.yaml": text})
        assert name not in dags
        assert message in errors["a.yaml"]
        dags, errors = parse({"a.yaml": text}, name)
        assert dags == {}
        assert message in str(errors)


@pytest.mark.parametrize("requested", [None, "nightly"])
def test_a_file_that_is_also_linked_is_one_definition(parse, tmp_path, requested):
    """The first path counts. A link may lead out of the folder; hidden files define nothing."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/nightly.yaml").symlink_to("../one.yaml")
    outside = tmp_path / ".outside.yaml"
    outside.write_text(good("linked"))
    (tmp_path / "linked.yaml").symlink_to(outside)
    dags, errors = parse({"one.yaml": good(), ".hidden.yaml": good(tag=2), ".h/nightly.yaml": good(tag=3)}, requested)
    assert errors == {}
    assert {"nightly", "linked"} == set(dags) if requested is None else ["nightly"] == list(dags)
    assert image(dags["nightly"]) == "etl:1"


def test_names_that_differ_by_case_are_two_dags(parse):
    """For Airflow and S3, too."""
    files = {"a.yaml": good(), "b.yaml": good("Nightly", 2)}
    dags, errors = parse(files)
    assert ({"nightly": "etl:1", "Nightly": "etl:2"}, {}) == ({name: image(dag) for name, dag in dags.items()}, errors)
    assert image(parse(files, "Nightly")[0]["Nightly"]) == "etl:2"


def test_two_calls_in_one_dag_file_define_one_name(parse, tmp_path):
    """Airflow itself does not compare the Dags of one file: it took either of the two, in random order."""
    calls = "".join(f"load_pipelines(globals(), '{tmp_path}/{name}')\n" for name in ("team_a", "team_b", "team_a"))
    files = {"dags.py": CALL + calls, "team_a/x.yaml": f"{good()}bad: 1\n", "team_b/y.yaml": good(tag=2) + "worse: 1\n"}
    dags, errors = parse(files)
    assert image(dags["nightly"]) == "etl:1"
    assert f"pipeline nightly is also defined at {tmp_path}/team_b/y.yaml:1:1" in errors["team_a/x.yaml"]
    assert f"pipeline nightly is also defined at {tmp_path}/team_a/x.yaml:1:1" in errors["team_b/y.yaml"]
    assert "expected a pipeline as a mapping, not 1" in errors["team_a/x.yaml"]
    assert "expected a pipeline as a mapping, not 1" in errors["team_b/y.yaml"]
    dags, errors = parse(files, "nightly")
    assert dags == {}
    assert f"{tmp_path}/team_a/x.yaml:1:1" in str(errors)
    assert f"{tmp_path}/team_b/y.yaml:1:1" in str(errors)


@pytest.mark.parametrize("requested", [None, "nightly"])
def test_a_further_call_for_the_same_file_returns_the_same_dags(parse, requested):
    """Such as to change one of them."""
    calls = "all_ = load_pipelines(globals(), __file__)\none = load_pipelines(globals(), 'a.yaml')\n"
    check = "assert one['nightly'] is all_['nightly']\none['nightly'].description = 'changed'\n"
    dags, errors = parse({"dags.py": CALL + calls + check, "a.yaml": good()}, requested)
    assert (["nightly"], {}) == (list(dags), errors)
    assert dags["nightly"].description == "changed"


def test_a_dag_written_in_python_has_the_name_of_a_pipeline(parse, tmp_path):
    """The Dag in Python is shown, and the pipeline is an error."""
    python = "from airflow.sdk import DAG\nmine = DAG('nightly', schedule=None, description='python')\n"
    files = {"dags.py": f"{python}{DAG_FILE}", "a.yaml": good()}
    dags, errors = parse(files)
    assert dags["nightly"].description == "python"
    message = f"{tmp_path}/a.yaml:1:1: error: {tmp_path}/dags.py already has a Dag named nightly"
    assert message in errors["a.yaml"]
    dags, errors = parse(files, "nightly")
    assert message in str(errors)


def test_a_variable_with_the_name_of_a_pipeline_is_kept(parse):
    """It is no Dag."""
    dags, errors = parse({"dags.py": f"nightly = 1\n{DAG_FILE}assert nightly == 1\n", "a.yaml": good()})
    assert (["nightly"], {}) == (list(dags), errors)


def test_build_dags_names_both_places(tmp_path, airflow_db):
    from airflow_batchemr import build_dags

    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(good())
    with pytest.raises(Exception, match=r"(?s)a\.yaml:1:1: error.*b\.yaml:1:1.*b\.yaml:1:1: error.*a\.yaml:1:1"):
        build_dags(tmp_path)
