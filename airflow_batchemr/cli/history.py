"""`batchemr history`: show what ran, from the ledger."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airflow_batchemr.cli import common

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_batchemr.engine.history import JobHistory, SubmissionHistory
    from airflow_batchemr.ledger import JobLedger, Ledger

app = common.new_app()
#: Number of runs that are read concurrently.
_THREADS = 8


@app.command()
def history(  # noqa: PLR0917 (all are options)
    pipeline: Annotated[
        str | None, typer.Argument(help="Dag id. Default: list all pipelines.", show_default=False)
    ] = None,
    run_key: Annotated[
        str | None,
        typer.Argument(help="Run key, such as 2026-11-20T000000Z. Default: list the latest runs.", show_default=False),
    ] = None,
    job: Annotated[str | None, typer.Argument(help="Job. Default: list the run's jobs.", show_default=False)] = None,
    index: Annotated[
        int | None, typer.Option("--index", "-i", min=0, help="Show one index of the job.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Number of runs to show, newest first.")] = 20,
    state: common.StateOption = None,
    profile: common.ProfileOption = None,
    region: common.RegionOption = None,
    json_: common.JsonOption = False,
) -> None:
    """Show what ran and how it ended. Reads the ledger, so it works after AWS has deleted its records.

    batchemr history

    batchemr history nightly

    batchemr history nightly 2026-11-20T000000Z

    batchemr history nightly 2026-11-20T000000Z score

    batchemr history nightly 2026-11-20T000000Z score --index 17
    """
    if index is not None and job is None:
        raise typer.BadParameter("--index requires a pipeline, a run and a job")
    with common.errors():
        ledger = common.open_ledger(common.clients(profile, region), state)
        if pipeline is None:
            _pipelines(ledger, json_=json_)
        elif run_key is None:
            _runs(ledger, pipeline, limit, json_=json_)
        elif job is None:
            _jobs(ledger, pipeline, run_key, json_=json_)
        else:
            found = common.existing_job(ledger, pipeline, run_key, job)
            if index is None:
                _job(found, [pipeline, run_key, job], ledger.uri, json_=json_)
            else:
                _index(found, index, json_=json_)


def _pipelines(ledger: Ledger, *, json_: bool) -> None:
    rows: list[dict[str, Any]] = []
    for pipeline in ledger.pipelines():
        runs = ledger.runs(pipeline)
        rows.append({"pipeline": pipeline, "runs": len(runs), "last_run": runs[-1] if runs else None})
    if json_:
        _print_json(rows)
        return
    common.table(
        ["pipeline", "runs", "last run"],
        [[row["pipeline"], str(row["runs"]), row["last_run"] or "-"] for row in rows],
    )
    common.say(f"{len(rows)} pipeline{'s' * (len(rows) != 1)} in {ledger.uri}")


def _runs(ledger: Ledger, pipeline: str, limit: int, *, json_: bool) -> None:
    from airflow_batchemr.engine.history_reader import run_history

    keys = common.existing_pipeline(ledger, pipeline)[: -limit - 1 : -1]
    with ThreadPoolExecutor(_THREADS) as threads:
        runs = list(threads.map(lambda key: run_history(ledger, pipeline, key), keys))
    if json_:
        _print_json(_job_json(pipeline, key, job) for key, jobs in zip(keys, runs, strict=True) for job in jobs)
        return
    names = list(dict.fromkeys(job.job for jobs in reversed(runs) for job in jobs))
    rows = []
    for key, jobs in zip(keys, runs, strict=True):
        by_name = {job.job: job for job in jobs}
        rows.append([key, *(_cell(by_name.get(name)) for name in names)])
    common.table(["run", *names], rows)


def _cell(job: JobHistory | None) -> str:
    if job is None:
        return "-"
    return job.state if job.size <= 1 else f"{job.state} {job.progress}"


def _jobs(ledger: Ledger, pipeline: str, run_key: str, *, json_: bool) -> None:
    from airflow_batchemr.engine.history_reader import run_history

    common.existing_run(ledger, pipeline, run_key)
    jobs = run_history(ledger, pipeline, run_key)
    if json_:
        _print_json(_job_json(pipeline, run_key, job) for job in jobs)
        return
    common.table(
        ["job", "state", "done", "submissions", "started", "duration"],
        [
            [
                job.job,
                job.state,
                job.progress,
                str(len(job.submissions)),
                _time(job.began),
                _duration(job.began, job.ended),
            ]
            for job in jobs
        ],
    )


def _job(found: JobLedger, job: list[str], state: str, *, json_: bool) -> None:
    """Show the submissions of a job, given as [pipeline, run key, job name]."""
    from airflow_batchemr.engine.history_reader import job_history

    history = job_history(found, job[-1], ["batchemr", "replay", *job, "--state", state])
    if json_:
        _print_json([_job_json(job[0], job[1], history)])
        return
    marked = f", marker written {_time(history.finished_at)}" if history.finished_at else ""
    lines = [f"{' '.join(job)}: {history.state}, {history.progress} done{marked}", found.uri]
    for submission in history.submissions:
        lines += ["", *_submission(submission)]
    sys.stdout.write("\n".join(lines) + "\n")


def _submission(submission: SubmissionHistory) -> list[str]:
    after = f" after {_duration(submission.began, submission.ended)}" if submission.ended else ""
    done = f"{len(submission.succeeded):,}/{len(submission.indices):,} done"
    lines = [f"submission {submission.number}: {submission.state}{after}, {done}"]
    facts = [
        ("started", _time(submission.began)),
        ("by", submission.by),
        ("stop requested", submission.stopped),
        *submission.facts,
    ]
    lines += _columns([(name, value) for name, value in facts if value])
    if submission.failure:
        lines += ["", *(f"  {line}".rstrip() for line in submission.failure.splitlines())]
    return lines


def _index(found: JobLedger, index: int, *, json_: bool) -> None:
    from airflow_batchemr.engine.history_reader import index_history

    submissions = index_history(found, index)
    if not submissions:
        raise LookupError(f"no submission in {found.uri} contains index {index}")
    if json_:
        _print_json(dict(facts) for facts in submissions)
        return
    sys.stdout.write("\n\n".join("\n".join(_columns(facts, "")) for facts in submissions) + "\n")


def _columns(facts: list[tuple[str, str]], margin: str = "  ") -> list[str]:
    width = max(len(name) for name, _ in facts)
    return [f"{margin}{name:<{width}}  {value}" for name, value in facts]


def _time(when: datetime | None) -> str:
    return when.strftime("%Y-%m-%d %H:%M:%S UTC") if when else "-"


def _duration(began: datetime | None, ended: datetime | None) -> str:
    return common.duration(max(0.0, (ended - began).total_seconds())) if began and ended else "-"


def _job_json(pipeline: str, run_key: str, job: JobHistory) -> dict[str, Any]:
    return {
        "pipeline": pipeline,
        "run_key": run_key,
        "job": job.job,
        "state": job.state,
        "done": job.done,
        "size": job.size,
        "began": job.began,
        "ended": job.ended,
        "submissions": [
            {
                "number": one.number,
                "kind": one.kind,
                "state": one.state,
                "indices": str(one.indices),
                "succeeded": str(one.succeeded),
                "began": one.began,
                "ended": one.ended,
                "by": one.by,
                "stopped": one.stopped or None,
                "facts": [{"name": name, "value": value} for name, value in one.facts],
                "failure": one.failure or None,
            }
            for one in job.submissions
        ],
    }


def _print_json(records: Any) -> None:
    for record in records:
        sys.stdout.write(json.dumps(record, default=lambda value: value.isoformat()) + "\n")
