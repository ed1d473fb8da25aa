"""Measure how long Airflow takes to parse 1,000 pipelines, compared with hand-written code and dag-factory.

Each figure is the median CPU time of several new processes. Imports and the load of one small file are not measured.
The variants alternate, so that other load on the machine affects all of them.

    python benchmarks/parsing.py [--runs 5] [--pipelines 1000] [--dag-factory FOLDER]

`uv pip install --no-deps --target FOLDER dag-factory==1.1.0` installs dag-factory for this benchmark only. Without the
option, it is skipped unless it is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PIPELINE = """\
{name}:
  schedule: '0 {hour} * * *'
  start_date: 2026-01-01
  tags: [team{team}]
  jobs:
    extract:
      batch: {{image: 'registry/etl:1.{n}', queue: data, command: 'extract.sh --n {n}', vcpus: 1, memory: 2048}}
    load:
      after: extract
      batch: {{image: 'registry/etl:1.{n}', queue: data, command: 'load.sh --n {n}', vcpus: 1, memory: 2048}}
"""

#: Hand-written code for the same Dags: a loop, which Python executes faster than 1,000 separate definitions.
HAND_WRITTEN = """
import pendulum
from airflow.sdk import DAG, Param
from airflow_batchemr import BatchArrayOperator

for n in {numbers}:
    with DAG(
        f"p{{n:04d}}",
        schedule=f"0 {{n % 24}} * * *",
        start_date=pendulum.datetime(2026, 1, 1),
        catchup=False,
        tags=[f"team{{n % 7}}"],
        doc_md=f"| job | after | runs | what |\\n|---|---|---|---|\\n| extract | | AWS Batch | `extract.sh {{n}}` |",
        {params}
    ) as dag:
        extract = BatchArrayOperator(
            task_id="extract", image=f"registry/etl:1.{{n}}", queue="data", command=f"extract.sh --n {{n}}",
            vcpus=1, memory=2048,
        )
        load = BatchArrayOperator(
            task_id="load", image=f"registry/etl:1.{{n}}", queue="data", command=f"load.sh --n {{n}}",
            vcpus=1, memory=2048,
        )
        extract >> load
    globals()[dag.dag_id] = dag
"""
RERUN = """params={"rerun": Param([], type=["array", "null"], items={"type": "string", "enum": ["extract", "load"]},
            examples=["extract", "load"], title="Run again",
            description="Jobs to run although they have succeeded.")},"""

DAG_FACTORY = """\
{name}:
  schedule: '0 {hour} * * *'
  default_args: {{start_date: 2026-01-01, owner: airflow}}
  catchup: false
  tags: [team{team}]
  tasks:
    - task_id: extract
      operator: airflow_batchemr.operators.batch.BatchArrayOperator
      image: 'registry/etl:1.{n}'
      queue: data
      command: 'extract.sh --n {n}'
      vcpus: 1
      memory: 2048
    - task_id: load
      operator: airflow_batchemr.operators.batch.BatchArrayOperator
      image: 'registry/etl:1.{n}'
      queue: data
      command: 'load.sh --n {n}'
      vcpus: 1
      memory: 2048
      dependencies: [extract]
"""

#: Code of the child process: imports, one small load, then the measured load.
CHILD = """
import gc, json, sys, time, warnings
warnings.simplefilter("ignore")
import pendulum
import airflow.sdk
from airflow_batchemr import BatchArrayOperator, load_pipelines
def load(path):
    names = {{"__name__": "m", "__file__": path}}
    exec(compile(open(path).read(), path, "exec"), names)
    return len({{value.dag_id for value in names.values() if isinstance(value, airflow.sdk.DAG)}})
for path in {warm}:
    load(path)
gc.collect()
{before}
start = time.process_time()
dags = sum(load(path) for path in {files})
print("RESULT", json.dumps([time.process_time() - start, dags]))
"""
LOADER = "from airflow_batchemr import load_pipelines\nload_pipelines(globals(), {path!r})\n"
FACTORY_LOADER = "import dagfactory\ndagfactory.load_yaml_dags(globals_dict=globals(), config_filepath={path!r})\n"


def fields(n: int) -> dict[str, object]:
    return {"name": f"p{n:04d}", "n": n, "hour": n % 24, "team": n % 7}


def measure(folder: Path, files: list[Path], warm: list[Path], before: str = "", extra: str = "") -> tuple[float, int]:
    """Return the seconds of one load in a new process, and the number of Dags."""
    code = CHILD.format(files=[str(file) for file in files], warm=[str(file) for file in warm], before=before)
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(folder / "home"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": os.pathsep.join(part for part in (extra, os.environ.get("PYTHONPATH", "")) if part),
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            seconds, dags = json.loads(line.removeprefix("RESULT "))
            return float(seconds), int(dags)
    raise SystemExit(f"a variant failed:\n{done.stderr[-3000:]}")


def write(folder: Path, count: int) -> dict[str, list[Path]]:
    """Write the files of all variants. Returns the Dag files by variant."""
    one, many, others, hand = folder / "one", folder / "many", folder / "others", folder / "hand"
    for each in (one, many, others, hand, folder / "home"):
        each.mkdir()
    (one / "all.yaml").write_text("".join(PIPELINE.format(**fields(n)) for n in range(count)))
    (one / "dags.py").write_text(LOADER.format(path=str(one / "all.yaml")))
    (one / "factory.yaml").write_text("".join(DAG_FACTORY.format(**fields(n)) for n in range(count)))
    (one / "factory.py").write_text(FACTORY_LOADER.format(path=str(one / "factory.yaml")))
    small = folder / "small"
    small.mkdir()
    (small / "all.yaml").write_text(PIPELINE.format(**fields(9999)))
    (small / "dags.py").write_text(LOADER.format(path=str(small / "all.yaml")))
    (small / "factory.yaml").write_text(DAG_FACTORY.format(**fields(9999)))
    (small / "factory.py").write_text(FACTORY_LOADER.format(path=str(small / "factory.yaml")))
    (small / "hand.py").write_text(HAND_WRITTEN.format(numbers="[9999]", params=RERUN))
    for n in range(count):
        (many / f"p{n:04d}.yaml").write_text(PIPELINE.format(**fields(n)))
        (others / f"file{n:04d}.yaml").write_text(PIPELINE.format(**fields(n)))
        (hand / f"p{n:04d}.py").write_text(HAND_WRITTEN.format(numbers=f"[{n}]", params=RERUN))
    (many / "dags.py").write_text(LOADER.format(path=str(many)))
    (others / "dags.py").write_text(LOADER.format(path=str(others)))
    (folder / "hand.py").write_text(HAND_WRITTEN.format(numbers=f"range({count})", params=RERUN))
    (folder / "bare.py").write_text(HAND_WRITTEN.format(numbers=f"range({count})", params=""))
    return {
        "hand": [folder / "hand.py"],
        "bare": [folder / "bare.py"],
        "hand files": sorted(hand.glob("*.py")),
        "one": [one / "dags.py"],
        "many": [many / "dags.py"],
        "others": [others / "dags.py"],
        "dag-factory": [one / "factory.py"],
        "warm": [small / "dags.py"],
        "warm hand": [small / "hand.py"],
        "warm dag-factory": [small / "factory.py"],
    }


def validate(folder: Path) -> float:
    """Return the wall time of `batchemr validate` on all files, in seconds."""
    arguments = ["batchemr", "validate", str(folder)]
    program = f"import sys; from airflow_batchemr.cli import main; sys.argv = {arguments}; main()"
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--pipelines", type=int, default=1000)
    parser.add_argument("--dag-factory", metavar="FOLDER", default="")
    options = parser.parse_args()
    requested, last = (
        f"import os; os.environ['_AIRFLOW_PARSING_CONTEXT_DAG_ID'] = 'p{n:04d}'"
        for n in (options.pipelines // 2, options.pipelines - 1)
    )
    with tempfile.TemporaryDirectory(prefix="parsing-") as name:
        folder = Path(name)
        files = write(folder, options.pipelines)
        variants = {
            "hand-written, the same Dags": ("hand", "warm hand", "", options.pipelines),
            "hand-written, without the rerun param": ("bare", "warm hand", "", options.pipelines),
            "hand-written, one file each": ("hand files", "warm hand", "", options.pipelines),
            "pipeline file, all in one": ("one", "warm", "", options.pipelines),
            "pipeline files, one each": ("many", "warm", "", options.pipelines),
            "one Dag requested, all in one file": ("one", "warm", requested, 1),
            "one Dag requested, one file each": ("many", "warm", requested, 1),
            "one Dag requested, files with other names": ("others", "warm", requested, 1),
            "the last of these requested": ("others", "warm", last, 1),
        }
        if options.dag_factory or _installed("dagfactory"):
            variants["dag-factory 1.1.0, all in one"] = ("dag-factory", "warm dag-factory", "", options.pipelines)
        seconds: dict[str, list[float]] = {variant: [] for variant in variants}
        for _ in range(options.runs):
            for variant, (which, warm, before, expected) in variants.items():
                took, dags = measure(folder, files[which], files[warm], before, options.dag_factory)
                assert dags == expected, (variant, dags)
                seconds[variant].append(took)
        middle = {variant: statistics.median(took) for variant, took in seconds.items()}
        checked = statistics.median(validate(folder / "many") for _ in range(options.runs))
    _report(middle, checked, options.pipelines)


def _installed(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None


def _report(middle: dict[str, float], checked: float, count: int) -> None:
    hand, files = middle["hand-written, the same Dags"], middle["hand-written, one file each"]
    against = {
        "pipeline file, all in one": (hand, "hand-written; at most 1.5"),
        "pipeline files, one each": (files, "hand-written, one file each; at most 1.8"),
    }
    print(f"{count:,} pipelines of 2 jobs; median CPU seconds, Python {sys.version.split()[0]}, {os.cpu_count()} cores")
    for variant, took in middle.items():
        line = f"{took * 1000:9.1f} ms  {variant}"
        if variant in against:
            other, what = against[variant]
            line += f"   = {took / other:.2f} x {what}"
        print(line)
    if "dag-factory 1.1.0, all in one" in middle:
        ratio = middle["pipeline file, all in one"] / middle["dag-factory 1.1.0, all in one"]
        print(f"pipeline file / dag-factory = {ratio:.2f}, at most 0.4")
    print(f"{checked * 1000:9.1f} ms  batchemr validate on {count:,} files, including its start; at most 4,000")


if __name__ == "__main__":
    main()
