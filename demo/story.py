"""The three parts of `make demo`. Each one is verified by the output of the programs."""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from demo.airflow import Airflow
    from demo.aws import LocalAws

BUCKET = "data"
SPARK = Path(__file__).parents[1] / "dags_examples" / "spark"
DATE = "2026-11-02"  # a Monday, so that `publish` has a run on it
BACKFILL = ("2026-11-03", "2026-11-05")
SHARDS = 24
BROKEN = 17
FRONTDOOR_FILES = 4
_EXECUTION = re.compile(r"^(?P<program>\S+): run (?P<run>\S+)(?: index (?P<index>\d+))?", re.MULTILINE)


class DemoError(Exception):
    """A step of the demo did not have the expected result."""


@dataclass(frozen=True)
class Row:
    """A row of the final table: one job."""

    pipeline: str
    job: str
    ran: int
    skipped: int
    seconds: float
    output: str


@dataclass
class Story:
    """Runs the parts in order, and collects the rows of the final table in `rows`.

    Args:
        airflow: A running Airflow with the examples loaded.
        aws: The local AWS with the inputs.
        console: Console for progress messages.
    """

    airflow: Airflow
    aws: LocalAws
    console: Console
    rows: list[Row] = field(default_factory=list)

    def run(self) -> None:
        """Run all parts.

        Raises:
            DemoError: A step did not have the expected result.
            AirflowError: Airflow rejected a request, or a wait timed out.
        """
        self.article()
        self.broken_shard()
        self.backfill_twice()

    def article(self) -> None:
        """Run the three pipelines of the article for one date, each after the one whose output it reads."""
        self._title("1", "The three pipelines of the article, for one date")
        for pipeline, at, output, files in (
            ("transform", "10:00", "input/", FRONTDOOR_FILES),
            ("score", "13:00", "scores/", FRONTDOOR_FILES),
            ("publish", "11:00", "published/", 1),
        ):
            before = self.executions()
            run_id, seconds = self._run(pipeline, f"{DATE}T{at}:00Z")
            ran = self.executions() - before
            self._check(self._keys(output), files, f"files in s3://{BUCKET}/{output}")
            self._check(max(ran.values()), 1, f"executions of any program in {pipeline}")
            own = sum(count for (program, _, _), count in ran.items() if program != "score.sh")
            self._check(own, 1, f"executions of the program of {pipeline}")
            self.rows.append(Row(pipeline, pipeline, own, 0, seconds, f"s3://{BUCKET}/{output}"))
            more = f", {total} more executions in jobs that it submitted" if (total := sum(ran.values()) - own) else ""
            self._say(
                f"{pipeline} {run_id}: success in {seconds:.0f} s{more}; {files} file(s) in s3://{BUCKET}/{output}"
            )
        self._check_cluster_was_used()

    def broken_shard(self) -> None:
        """Run an array job with one malformed input file, fix the file, and resume the failed index."""
        self._title("2", f"An array job of {SHARDS} shards with one malformed input file")
        airflow, pipeline = self.airflow, "shards"
        airflow.unpause(pipeline)
        started = time.monotonic()
        run_id = airflow.trigger(pipeline, f"{DATE}T00:00:00Z")
        state = airflow.wait_for_run(pipeline, run_id)
        seconds = time.monotonic() - started
        first = self._indices("clean.sh", f"s3://{BUCKET}/shards")
        self._check(state, "failed", f"the run of {pipeline} with the malformed file")
        self._check(sorted(first.elements()), list(range(SHARDS)), "the indices that ran")
        self.rows.append(Row(pipeline, f"{pipeline}, one malformed file", SHARDS, 0, seconds, f"{SHARDS - 1} files"))
        self._say(f"{pipeline} failed after {seconds:.0f} s, as expected. Its task log, also available in Airflow at")
        self._say(f"{airflow.url}/dags/{pipeline}/runs/{run_id}/tasks/{pipeline}:")
        self.console.print(
            _indented(_failure(airflow.log(pipeline, run_id, pipeline))), markup=False, highlight=False, soft_wrap=True
        )

        self._say(f"Fixing s3://{BUCKET}/shards/{BROKEN}.csv and clearing the task through the REST API")
        put_shard(self.aws, BROKEN, broken=False)
        started = time.monotonic()
        airflow.clear(pipeline, run_id, pipeline)
        self._check(airflow.wait_for_run(pipeline, run_id), "success", f"the cleared run of {pipeline}")
        seconds = time.monotonic() - started
        again = self._indices("clean.sh", f"s3://{BUCKET}/shards") - first
        self._check(dict(again), {BROKEN: 1}, "the indices that ran again")
        self._check(self._keys("clean/"), SHARDS, f"files in s3://{BUCKET}/clean/")
        self.rows.append(Row(pipeline, f"{pipeline}, cleared", 1, SHARDS - 1, seconds, f"s3://{BUCKET}/clean/"))
        self._say(f"{pipeline} succeeded after {seconds:.0f} s: only index {BROKEN} ran again")

    def backfill_twice(self) -> None:
        """Run `airflow backfill create` for three dates, twice. The second one finds all markers."""
        first, last = BACKFILL
        self._title("3", f"airflow backfill create --dag-id daily --from-date {first} --to-date {last}, twice")
        self.airflow.unpause("daily")
        for again in (False, True):
            before, submitted = self.executions(), self.aws.requests()["SubmitJob"]
            started = time.monotonic()
            self._backfill(first, last, again=again)
            seconds = time.monotonic() - started
            ran = self.executions() - before
            submitted = self.aws.requests()["SubmitJob"] - submitted
            for job, program, each in (("clean", "clean.sh", 2), ("publish", "publish.sh", 1)):
                indices = sum(count for (name, _, _), count in ran.items() if name == program)
                expected = 0 if again else 3 * each
                self._check(indices, expected, f"indices of daily.{job} that ran")
                output = f"s3://{BUCKET}/daily/"
                self.rows.append(
                    Row(
                        "daily, again" if again else "daily",
                        f"{job}, 3 dates",
                        indices,
                        3 * each - indices,
                        seconds,
                        output,
                    )
                )
            self._check(submitted, 0 if again else 6, "jobs submitted by the backfill")
            self._say(f"{'second' if again else 'first'} backfill: {submitted} jobs submitted, {seconds:.0f} s")

    def executions(self) -> Counter[tuple[str, str, str]]:
        """Count executions by (program, run key, index), as printed by the programs themselves."""
        return Counter(
            (match["program"], match["run"], match["index"] or "")
            for line in self.aws.job_output()
            for match in _EXECUTION.finditer(line)
        )

    def _indices(self, program: str, source: str) -> Counter[int]:
        pattern = re.compile(rf"^{re.escape(program)}: run \S+ index (\d+) of {re.escape(source)}$")
        return Counter(int(match[1]) for line in self.aws.job_output() if (match := pattern.match(line)))

    def _run(self, pipeline: str, logical_date: str) -> tuple[str, float]:
        self.airflow.unpause(pipeline)
        started = time.monotonic()
        run_id = self.airflow.trigger(pipeline, logical_date)
        state = self.airflow.wait_for_run(pipeline, run_id)
        if state != "success":
            raise DemoError(f"the run {run_id} of {pipeline} ended in state {state}:\n{self._logs(pipeline, run_id)}")
        return run_id, time.monotonic() - started

    def _backfill(self, first: str, last: str, *, again: bool) -> None:
        behaviour = ("--reprocess-behavior", "completed") if again else ()
        self.airflow.backfill("daily", "--from-date", first, "--to-date", last, *behaviour)
        states = [run["state"] for run in self.airflow.runs("daily") if first <= run["logical_date"][:10] <= last]
        self._check(states, ["success"] * 3, "the states of the backfill's runs")

    def _check_cluster_was_used(self) -> None:
        emr = self.aws.client("emr")
        clusters = emr.list_clusters()["Clusters"]
        self._check([c["Status"]["State"] for c in clusters], ["TERMINATED"], "the states of the clusters")
        steps = emr.list_steps(ClusterId=clusters[0]["Id"])["Steps"]
        self._check([s["Status"]["State"] for s in steps], ["COMPLETED"], "the states of the cluster's steps")
        self._say(f"the cluster of transform, {clusters[0]['Id']}, ran 1 step and is terminated")

    def _logs(self, pipeline: str, run_id: str) -> str:
        tasks = self.airflow.tasks(pipeline, run_id).values()
        failed = [task for task in tasks if task["state"] not in {"success", "upstream_failed"}]
        return "\n".join(self.airflow.log(pipeline, run_id, t["task_id"], max(t["try_number"], 1)) for t in failed)

    def _keys(self, prefix: str) -> int:
        return len(list(keys(self.aws, prefix)))

    def _check(self, found: object, expected: object, what: str) -> None:
        if found != expected:
            raise DemoError(f"{what}: expected {expected}, found {found}")

    def _title(self, number: str, text: str) -> None:
        self.console.print(f"\n[bold]{number}. {text}[/bold]", highlight=False, soft_wrap=True)

    def _say(self, text: str) -> None:
        self.console.print(f"   {text}", markup=False, highlight=False, soft_wrap=True)


def put_inputs(aws: LocalAws) -> None:
    """Upload access logs for the pipelines of the article, the shards (one malformed), and the Spark programs."""
    for number in range(FRONTDOOR_FILES):
        _put(aws, f"frontdoor/{number}.csv", (_visit(number, line) for line in range(50)))
    for number in range(SHARDS):
        put_shard(aws, number, broken=number == BROKEN)
    for program in sorted(SPARK.glob("*.py")):
        aws.client("s3").put_object(Bucket=BUCKET, Key=f"code/{program.name}", Body=program.read_bytes())


def put_shard(aws: LocalAws, number: int, *, broken: bool) -> None:
    """Upload one input file of `shards`. The malformed one has a truncated line."""
    lines = [_visit(number, line) for line in range(20)]
    if broken:
        lines[12] = lines[12].split(",")[0]
    _put(aws, f"shards/{number}.csv", iter(lines))


def keys(aws: LocalAws, prefix: str) -> Iterator[str]:
    """Return the keys below a prefix of the bucket."""
    pages = aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    return (entry["Key"] for page in pages for entry in page.get("Contents", ()))


def first_lines(aws: LocalAws, key: str, count: int = 3) -> list[str]:
    """Return the first lines of an object."""
    text: str = aws.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read().decode()
    return text.splitlines()[:count]


def _put(aws: LocalAws, key: str, lines: Iterator[str]) -> None:
    aws.client("s3").put_object(Bucket=BUCKET, Key=key, Body="".join(f"{line}\n" for line in lines).encode())


def _visit(file: int, line: int) -> str:
    """Return a line of an access log: user, page, seconds."""
    return f"user{(file * 7 + line * 3) % 11:02d},/page/{line % 5},{(file + 1) * (line % 13) + 1}"


def _failure(log: str) -> str:
    """Return the part of a failed task's log that starts with the error."""
    lines = log.splitlines()
    start = next((n for n, line in enumerate(lines) if "Task failed with exception" in line), 0)
    return "\n".join(line for line in lines[start:] if not line.startswith("::"))


def _indented(text: str) -> str:
    return "\n".join(f"   | {line}" for line in text.splitlines())
