"""Pipeline files in a real DagBag: loading, validation and serialization by Airflow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from airflow_batchemr.dags.plan import plan_dag
from airflow_batchemr.pipeline_file import load_file

EXAMPLES = Path(__file__).parents[2] / "dags_examples"
DAG_FILE = "# a Dag file of airflow\nfrom airflow_batchemr import load_pipelines\nload_pipelines(globals(), __file__)\n"
GOOD = "{}:\n  batch: {{image: 'etl:1', queue: data, command: run.sh}}\n"


@pytest.fixture
def bag_of(tmp_path, airflow_db):
    """`bag_of({name: text})`: the DagBag of a folder with these pipeline files and a Dag file."""
    from airflow.dag_processing.dagbag import DagBag

    def load(files):
        (tmp_path / "pipelines.py").write_text(DAG_FILE)
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(textwrap.dedent(text))
        return DagBag(tmp_path, bundle_path=tmp_path)

    return load


@pytest.fixture
def request_dag(monkeypatch):
    """`request_dag(dag_id)`: make this process parse for a single Dag, like an Airflow worker."""
    return lambda dag_id: monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", dag_id)


def test_the_examples_are_valid_dags(bag_of):
    """Every example loads without an import error and can be serialized."""
    from airflow.serialization.serialized_objects import DagSerialization

    bag = bag_of({path.name: path.read_text() for path in EXAMPLES.glob("*.yaml")})
    assert bag.import_errors == {}
    assert {"transform", "score", "publish", "shards", "daily"} <= set(bag.dags)
    for dag in bag.dags.values():
        assert dag.dag_id == DagSerialization.from_dict(DagSerialization.to_dict(dag)).dag_id


def test_a_broken_pipeline_does_not_hide_others(bag_of):
    """It becomes an import error with file, line and column; all others load."""
    bag = bag_of(
        {
            "a.yaml": GOOD.format("first") + "second:\n  schedul: '@daily'\n" + GOOD.format("third"),
            "b.yaml": "x: [\n",
            "sub/c.yaml": GOOD.format("fourth"),
        }
    )
    assert {"first", "third", "fourth"} == set(bag.dags)
    (error,) = bag.import_errors.values()
    assert "a.yaml:4:3: error: unknown key `schedul`" in error
    assert "b.yaml:2:" in error


def test_the_dag_processor_stores_the_error_under_the_pipeline_file(bag_of, tmp_path, monkeypatch):
    """Airflow marks all Dags of a file with an error as stale, so the error must not belong to the Dag file."""
    import structlog
    from airflow.dag_processing.processor import _serialize_dags

    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")
    bag = bag_of({"a.yaml": GOOD.format("good"), "sub/b.yaml": GOOD.format("fine") + "bad:\n  schedul: x\n"})
    serialized, errors = _serialize_dags(bag, structlog.get_logger())
    assert bag.import_errors == {}
    assert {"good", "fine"} == {dag.dag_id for dag in serialized}
    assert list(errors) == ["sub/b.yaml"]
    assert "b.yaml:4:3: error: unknown key `schedul`" in errors["sub/b.yaml"]


def test_only_the_requested_dag_is_built(bag_of, request_dag):
    """In a worker process, errors of other pipelines do not matter."""
    request_dag("third")
    bag = bag_of({"a.yaml": GOOD.format("first") + "second:\n  schedul: '@daily'\n" + GOOD.format("third")})
    assert list(bag.dags) == ["third"]
    assert bag.import_errors == {}


def test_errors_of_the_requested_dag_are_reported(bag_of, request_dag):
    """If a pipeline breaks during a run, its tasks fail with the reason."""
    request_dag("second")
    bag = bag_of({"a.yaml": GOOD.format("first") + "second:\n  schedul: '@daily'\n"})
    assert bag.dags == {}
    (error,) = bag.import_errors.values()
    assert "a.yaml:4:3: error: unknown key `schedul`" in error


def test_two_parses_give_the_same_bytes(tmp_path):
    """Otherwise, each parse would create a Dag version. Keys are sorted here, because Airflow's order is random."""
    code = """
        import json, sys
        from airflow_batchemr import build_dags
        from airflow.serialization.serialized_objects import DagSerialization
        dags = build_dags(sys.argv[1])
        print(json.dumps([DagSerialization.to_dict(dag) for dag in dags], sort_keys=True))
    """
    (tmp_path / "p.yaml").write_text(
        textwrap.dedent("""
        p:
          schedule: {after_assets: {any: [s3://b/x, s3://a/x]}}
          tags: [z, y, x, w]
          params: {b: 1, a: text}
          clusters: {spark: {type: m5.xlarge, instances: 2, log_uri: s3://logs}}
          jobs:
            split: {array: 5, batch: {image: 'etl:1', queue: data, command: run.sh, env: {B: b, A: a}}}
            other: {batch: {image: 'etl:1', queue: data, command: run.sh}, outputs: [s3://z/z, s3://y/y]}
            a: {after: [split, other], emr: {cluster: spark}, spark: {py: s3://code/a.py}}
            b: {after: {split: finished, other: succeeded}, emr: {cluster: spark}, spark: {py: s3://code/b.py}}
    """)
    )
    out = [
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "p.yaml")],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert out[0] == out[1]
    assert json.loads(out[0])[0]["dag"]["dag_id"] == "p"


def test_local_files_are_relative_to_the_pipeline_file(bag_of, tmp_path):
    """Not to the Dag file, which may be in another folder; `batchemr plan` finds the same file."""
    text = """
own:
  emr: {type: m5.xlarge, log_uri: 's3://logs/l'}
  steps: [{spark: {py: 's3://code/a.py', python_env: requirements.txt}}, {spark: {py: 'a.py', python_env: 's3://e/r.txt'}}]
shared:
  clusters: {spark: {type: m5.xlarge, log_uri: 's3://logs/l'}}
  jobs: {work: {emr: {cluster: spark}, spark: {py: 's3://code/a.py', python_env: ../requirements.txt}}}
"""
    dags = bag_of({"team/p.yaml": text}).dags
    found = [step["spark"]["python_env"] for step in dags["own"].get_task("own").steps]
    (path, _) = found
    assert path.endswith("/team/requirements.txt")
    assert [path, "s3://e/r.txt"] == found
    above = path.replace("/team/", "/")
    assert [above] == [step["spark"]["python_env"] for step in dags["shared"].get_task("work").steps]
    assert [above] == dags["shared"].get_task("spark.create_cluster").needs["python_env"]

    file = Path(path).with_name("p.yaml")
    plan = plan_dag(load_file(file).pipelines["own"], file.parent)
    assert found == [step["spark"]["python_env"] for step in plan.tasks[0].kwargs["steps"]]


def test_a_policy_may_change_or_reject_a_pipeline(bag_of, tmp_path, monkeypatch):
    """The policy function is called with each pipeline before its Dag is built."""
    (tmp_path / "house_rules.py").write_text(
        textwrap.dedent("""
        from airflow_batchemr.pipeline_file import PipelineFileError

        def rules(pipeline):
            if not pipeline.owner:
                raise PipelineFileError("every pipeline has an owner", "write `owner: your-team`")
            return pipeline.model_copy(update={"tags": [*pipeline.tags, "checked"]})
    """)
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("AIRFLOW__BATCHEMR__POLICY", "house_rules.rules")
    bag = bag_of({"a.yaml": GOOD.format("mine") + "  owner: me\n" + GOOD.format("nobodys")})
    assert list(bag.dags) == ["mine"]
    assert {"checked"} == bag.dags["mine"].tags
    (error,) = bag.import_errors.values()
    assert "a.yaml" in error
    assert "every pipeline has an owner" in error


def test_a_python_file_may_add_tasks_to_a_pipelines_dag(tmp_path, airflow_db):
    """`build_dags` returns ordinary Dags."""
    from airflow.providers.standard.operators.empty import EmptyOperator

    from airflow_batchemr import build_dags

    (tmp_path / "p.yaml").write_text(GOOD.format("p"))
    (dag,) = build_dags(tmp_path / "p.yaml")
    dag.get_task("p") >> EmptyOperator(task_id="mine", dag=dag)
    dag.validate()
    assert {"mine"} == dag.get_task("p").downstream_task_ids


def test_build_dags_raises_all_errors(tmp_path, airflow_db):
    """In a single exception."""
    from airflow_batchemr import build_dags
    from airflow_batchemr.pipeline_file import PipelineFileError

    (tmp_path / "p.yaml").write_text("a:\n  schedul: x\nb:\n  tag: x\n")
    with pytest.raises(PipelineFileError) as raised:
        build_dags(tmp_path / "p.yaml")
    assert "unknown key `schedul`" in str(raised.value)
    assert "unknown key `tag`" in str(raised.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("third", GOOD.format("third")),
        ("third", "---\n" + GOOD.format("third")),
        ("third", "{third: {batch: {image: 'etl:1', queue: data, command: run.sh}}}\n"),
        ("third", GOOD.format('"third"')),
        ("third_eu", GOOD.format("third") + "  matrix: {region: [eu, us]}\n"),
    ],
    ids=["plain", "document", "flow", "quoted", "matrix"],
)
def test_the_requested_dag_is_found_in_any_file(bag_of, request_dag, name, text):
    """Files with other names are searched, whatever their YAML style."""
    request_dag(name)
    bag = bag_of({"a.yaml": GOOD.format("first"), "m.yaml": text, "z.yaml": "x: [\n"})
    assert list(bag.dags) == [name]
    assert bag.import_errors == {}


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("p:\n  schedule: {timetable: airflow.nope.N}\n  operator: {bash}\n  with: {cmd}", "2:3", "airflow.nope.N"),
        ("p:\n  operator: airflow.nope.N\n", "2:3", "ImportError: cannot import the operator, airflow.nope.N"),
        ("p:\n  jobs:\n    a: {operator: airflow.nope.N}\n", "3:9", "ImportError: cannot import the operator"),
        (
            "p:\n  jobs:\n    a:\n      matrix: {x: [1]}\n      operator: {bash}\n      with: {bsh: a}\n",
            "5:7",
            "missing keyword argument 'bash_command'",
        ),
        ("p:\n  notify: {notifier: airflow.nope.N}\n  operator: {bash}\n  with: {cmd}\n", "2:3", "airflow.nope.N"),
        ("p:\n  matrix: {x: [1]}\n  defaults: {pool: q}\n  jobs: {a: {operator: no.N}}\n", "4:14", "No module"),
    ],
    ids=["timetable", "flat", "job", "matrix of jobs", "notifier", "matrix"],
)
def test_errors_found_by_airflow_have_a_position(tmp_path, text, position, message):
    """The file is valid, but a class that it names does not exist or rejects its arguments."""
    from airflow_batchemr import build_dags
    from airflow_batchemr.pipeline_file import PipelineFileError

    file = tmp_path / "p.yaml"
    bash = "airflow.providers.standard.operators.bash.BashOperator"
    file.write_text(text.replace("{bash}", bash).replace("{cmd}", "{bash_command: 'true'}"))
    with pytest.raises(PipelineFileError) as raised:
        build_dags(file)
    assert str(raised.value).startswith(f"{file}:{position}: error: ")
    assert message in str(raised.value)
