"""Output of `batchemr import`, and unconverted Sundial JSON, in a real DagBag."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from typer.testing import CliRunner

DATA = Path(__file__).parents[1] / "data"
DAG_FILE = "# a Dag file of airflow\nfrom airflow_batchemr import load_pipelines\nload_pipelines(globals(), __file__)\n"


def without_pagerduty(folder):
    """The file with every Sundial field except PagerDuty, whose provider is not part of Airflow."""
    data = json.loads((DATA / "sundial" / "every_field.json").read_text())
    data[0]["notifications"] = [item for item in data[0]["notifications"] if "pagerduty" not in item]
    path = folder / "every_field.json"
    path.write_text(json.dumps(data))
    return path


def dags_of(folder):
    """Return the serialized Dags of a folder, without their file locations."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization

    (folder / "pipelines.py").write_text(DAG_FILE)
    bag = DagBag(folder, bundle_path=folder)
    assert bag.import_errors == {}
    dags = {}
    for name, dag in bag.dags.items():
        data = DagSerialization.to_dict(dag)["dag"]
        for place in ("fileloc", "relative_fileloc", "_processor_dags_folder"):
            data.pop(place, None)
        dags[name] = json.loads(json.dumps(data, sort_keys=True))
    return dags


def test_sundial_json_and_its_import_give_the_same_dags(tmp_path, airflow_db):
    """Every Sundial field gives a Dag that Airflow loads and serializes, with or without conversion."""
    from airflow_batchemr.cli.import_ import app

    direct, imported = tmp_path / "direct", tmp_path / "imported"
    direct.mkdir()
    sources = [without_pagerduty(direct), Path(shutil.copy(DATA / "sundial" / "dynamic_cluster.json", direct))]
    result = CliRunner().invoke(app, ["sundial", *map(str, sources), "-o", str(imported)])
    assert result.exit_code == 0
    made = dags_of(imported)
    assert sorted(made) == ["every-field", "round-and-round", "spark-on-a-new-cluster"]
    assert dags_of(direct) == made


def test_a_state_machine_becomes_a_valid_dag(tmp_path, airflow_db):
    """With a param for the input of the execution, a shared cluster and a failure handler."""
    from airflow_batchemr.cli.import_ import app

    result = CliRunner().invoke(
        app, ["step-functions", str(DATA / "step_functions" / "nightly.asl.json"), "-o", str(tmp_path)]
    )
    assert result.exit_code == 0
    dag = dags_of(tmp_path)["nightly"]
    rules = {task["__var"]["task_id"]: task["__var"].get("trigger_rule", "all_success") for task in dag["tasks"]}
    assert rules["Tell"] == "all_failed"
    assert {"date", "rerun"} == {name for name, _ in dag["params"]}
