"""`batchemr history`: what has run, from the ledger, and from AWS if a result is not recorded."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airflow_batchemr.cli import common
from airflow_batchemr.core.foreign_text import clean

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_batchemr.engine.history import JobHistory, SubmissionHistory
    from airflow_batchemr.engine.unrecorded import RemoteWorkReader
    from airflow_batchemr.ledger import Ledger

app = common.new_app()


@app.command()
def history(  # noqa: PLR0917 (all are options)
    pipeline: Annotated[str | None, typer.Argument(help="The Dag; all Dags if not given.", show_default=False)] = None,
    run_key: Annotated[
        str | None,
        typer.Argument(help="The run, such as 2026-11-20T000000Z; the newest if not given.", show_default=False),
    ] = None,
    job: Annotated[
        str | None, typer.Argument(help="The job; all jobs of the run if not given.", show_default=False)
    ] = None,
    index: Annotated[
        int | None, typer.Option("--index", "-i", min=0, help="One index of the job.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many of the newest runs to show.")] = 20,
    ledger_only: Annotated[
        bool, typer.Option("--ledger-only", help="Do not query AWS for submissions without a recorded result.")
    ] = False,
    state: common.StateOption = None,
    profile: common.ProfileOption = None,
    region: common.RegionOption = None,
    json_: common.JsonOption = False,
) -> None:
    """Show what has run and how it ended, from the ledger: also after AWS has deleted its records of the jobs.

    AWS is queried only for submissions whose result is not recorded. If one has ended, its outcome is shown with
    "(not recorded)": Airflow ended the task before it could record the result. Clear the task, and the next try does.

    batchemr history

    batchemr history nightly

    batchemr history nightly 2026-11-20T000000Z

    batchemr history nightly 2026-11-20T000000Z score

    batchemr history nightly 2026-11-20T000000Z score --index 17
    """
    if index is not None and job is None:
        raise typer.BadParameter("--index needs the pipeline, the run and the job")
    with common.errors():
        aws = common.clients(profile, region)
        ledger = common.open_ledger(aws, state)
        reader = None if ledger_only else common.remote_work_reader(aws)
        if pipeline is None:
            _pipelines(ledger, json_=json_)
        elif run_key is None:
            _runs(ledger, pipeline, limit, reader, json_=json_)
        elif job is None:
            _jobs(ledger, pipeline, run_key, reader, json_=json_)
        else:
            common.existing_job(ledger, pipeline, run_key, job)
            if index is None:
                _job(ledger, (pipeline, run_key, job), reader, json_=json_)
            else:
                _index(ledger, (pipeline, run_key, job), index, reader, json_=json_)


def _pipelines(ledger: Ledger, *, json_: bool) -> None:
    rows: list[dict[str, Any]] = []
    for pipeline in ledger.pipelines():
        runs = ledger.runs(pipeline)
        rows.append({"pipeline": pipeline, "runs": len(runs), "last_run": runs[-1] if runs else None})
    if json_:
        _lines(rows)
        return
    common.table(
        ["pipeline", "runs", "last run"],
        [[row["pipeline"], str(row["runs"]), row["last_run"] or "-"] for row in rows],
    )
    common.say(f"{len(rows)} pipeline{'s' * (len(rows) != 1)} in {ledger.uri}")


def _runs(ledger: Ledger, pipeline: str, limit: int, reader: RemoteWorkReader | None, *, json_: bool) -> None:
    from airflow_batchemr.engine.history import run_histories

    keys = common.existing_pipeline(ledger, pipeline)[: -limit - 1 : -1]
    runs = run_histories(ledger, pipeline, keys, reader)
    if json_:
        _lines(_job_json(pipeline, key, job) for key, jobs in zip(keys, runs, strict=True) for job in jobs)
        return
    names = list(dict.fromkeys(job.job for jobs in reversed(runs) for job in jobs))
    rows = []
    for key, jobs in zip(keys, runs, strict=True):
        by_name = {job.job: job for job in jobs}
        rows.append([key, *(_cell(by_name.get(name)) for name in names)])
    common.table(["run", *names], rows)
    _notes([job for jobs in runs for job in jobs])


def _cell(job: JobHistory | None) -> str:
    if job is None:
        return "-"
    return job.label if job.size <= 1 else f"{job.label} {job.progress}"


def _notes(jobs: list[JobHistory]) -> None:
    for note in dict.fromkeys(job.note for job in jobs if job.note):
        common.say(f"note: {note}")


def _jobs(ledger: Ledger, pipeline: str, run_key: str, reader: RemoteWorkReader | None, *, json_: bool) -> None:
    from airflow_batchemr.engine.history import run_histories

    common.existing_run(ledger, pipeline, run_key)
    (jobs,) = run_histories(ledger, pipeline, [run_key], reader)
    if json_:
        _lines(_job_json(pipeline, run_key, job) for job in jobs)
        return
    common.table(
        ["job", "state", "done", "submissions", "began", "took"],
        [
            [one.job, one.label, one.progress, str(len(one.submissions)), _time(one.began), _took(one.began, one.ended)]
            for one in jobs
        ],
    )
    _notes(jobs)


def _job(ledger: Ledger, who: tuple[str, str, str], reader: RemoteWorkReader | None, *, json_: bool) -> None:
    from airflow_batchemr.engine.history import observed_job

    job = observed_job(ledger, *who, reader).history()
    if json_:
        _lines([_job_json(who[0], who[1], job)])
        return
    marked = f", marked {_time(job.finished_at)}" if job.finished_at else ""
    lines = [f"{' '.join(who)}: {job.label}, {job.progress} done{marked}", ledger.job(*who).uri]
    for submission in job.submissions:
        lines += ["", *_submission(submission)]
    sys.stdout.write("\n".join(lines) + "\n")
    _notes([job])


def _submission(submission: SubmissionHistory) -> list[str]:
    took = f" after {_took(submission.began, submission.ended)}" if submission.ended else ""
    done = f"{len(submission.succeeded):,}/{len(submission.indices):,} done"
    lines = [f"submission {submission.number}: {submission.label}{took}, {done}"]
    facts = [
        ("began", _time(submission.began)),
        ("by", submission.by),
        ("stop requested", submission.stopped),
        *submission.facts,
    ]
    lines += _columns([(name, value) for name, value in facts if value])
    if submission.failure:
        lines += ["", *(f"  {line}".rstrip() for line in submission.failure.splitlines())]
    return lines


def _index(
    ledger: Ledger, who: tuple[str, str, str], index: int, reader: RemoteWorkReader | None, *, json_: bool
) -> None:
    from airflow_batchemr.engine.history import observed_job

    found = observed_job(ledger, *who, reader).index_history(index)
    if not found:
        raise LookupError(f"no submission in {ledger.job(*who).uri} includes index {index}")
    if json_:
        _lines(dict(facts) for facts in found)
        return
    sys.stdout.write("\n\n".join("\n".join(_columns(facts, "")) for facts in found) + "\n")


def _columns(facts: list[tuple[str, str]], margin: str = "  ") -> list[str]:
    """Return one line per fact. Further lines of a value are indented, so that they do not look like other facts."""
    width = max(len(name) for name, _ in facts)
    pad = "\n" + margin + " " * (width + 2)
    return [f"{margin}{name:<{width}}  " + clean(value).replace("\n", pad) for name, value in facts]


def _time(when: datetime | None) -> str:
    return when.strftime("%Y-%m-%d %H:%M:%S UTC") if when else "-"


def _took(began: datetime | None, ended: datetime | None) -> str:
    return common.duration(max(0.0, (ended - began).total_seconds())) if began and ended else "-"


def _job_json(pipeline: str, run_key: str, job: JobHistory) -> dict[str, Any]:
    return {
        "pipeline": pipeline,
        "run_key": run_key,
        "job": job.job,
        "state": job.state,
        "recorded": job.recorded,
        "done": job.done,
        "size": job.size,
        "began": job.began,
        "ended": job.ended,
        "note": job.note or None,
        "submissions": [
            {
                "number": one.number,
                "kind": one.kind,
                "state": one.state,
                "recorded": one.recorded,
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


def _lines(records: Any) -> None:
    for record in records:
        sys.stdout.write(json.dumps(record, default=lambda value: value.isoformat()) + "\n")
