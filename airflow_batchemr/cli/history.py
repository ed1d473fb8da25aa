"""`batchemr history`: what has run, out of the ledger."""

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
#: Runs that are read at the same time.
_THREADS = 8


@app.command()
def history(  # noqa: PLR0917 (all are options)
    pipeline: Annotated[
        str | None, typer.Argument(help="The Dag; none: all that there are.", show_default=False)
    ] = None,
    run_key: Annotated[
        str | None, typer.Argument(help="The run, such as 2026-11-20T000000Z; none: the last ones.", show_default=False)
    ] = None,
    job: Annotated[str | None, typer.Argument(help="The job; none: all of the run.", show_default=False)] = None,
    index: Annotated[
        int | None, typer.Option("--index", "-i", min=0, help="One index of the job.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many runs to show, the newest.")] = 20,
    state: common.StateOption = None,
    profile: common.ProfileOption = None,
    region: common.RegionOption = None,
    json_: common.JsonOption = False,
) -> None:
    """Tell what has run, and how it ended, out of the ledger: also after AWS has forgotten the jobs.

    batchemr history

    batchemr history nightly

    batchemr history nightly 2026-11-20T000000Z

    batchemr history nightly 2026-11-20T000000Z score

    batchemr history nightly 2026-11-20T000000Z score --index 17
    """
    if index is not None and job is None:
        raise typer.BadParameter("--index needs the pipeline, the run and the job")
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
        _lines(rows)
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
        told = list(threads.map(lambda key: run_history(ledger, pipeline, key), keys))
    if json_:
        _lines(_job_json(pipeline, key, story) for key, stories in zip(keys, told, strict=True) for story in stories)
        return
    names = list(dict.fromkeys(story.job for stories in reversed(told) for story in stories))
    rows = []
    for key, stories in zip(keys, told, strict=True):
        by_name = {story.job: story for story in stories}
        rows.append([key, *(_cell(by_name.get(name)) for name in names)])
    common.table(["run", *names], rows)


def _cell(story: JobHistory | None) -> str:
    if story is None:
        return "-"
    return story.state if story.size <= 1 else f"{story.state} {story.progress}"


def _jobs(ledger: Ledger, pipeline: str, run_key: str, *, json_: bool) -> None:
    from airflow_batchemr.engine.history_reader import run_history

    common.existing_run(ledger, pipeline, run_key)
    told = run_history(ledger, pipeline, run_key)
    if json_:
        _lines(_job_json(pipeline, run_key, story) for story in told)
        return
    common.table(
        ["job", "state", "done", "submissions", "began", "took"],
        [
            [one.job, one.state, one.progress, str(len(one.submissions)), _time(one.began), _took(one.began, one.ended)]
            for one in told
        ],
    )


def _job(found: JobLedger, who: list[str], state: str, *, json_: bool) -> None:
    from airflow_batchemr.engine.history_reader import job_history

    story = job_history(found, who[-1], ["batchemr", "replay", *who, "--state", state])
    if json_:
        _lines([_job_json(who[0], who[1], story)])
        return
    marked = f", marked {_time(story.finished_at)}" if story.finished_at else ""
    lines = [f"{' '.join(who)}: {story.state}, {story.progress} done{marked}", found.uri]
    for submission in story.submissions:
        lines += ["", *_submission(submission)]
    sys.stdout.write("\n".join(lines) + "\n")


def _submission(submission: SubmissionHistory) -> list[str]:
    took = f" after {_took(submission.began, submission.ended)}" if submission.ended else ""
    lines = [
        f"attempt {submission.number}: {submission.state}{took}, {len(submission.succeeded):,}/{len(submission.indices):,} done"
    ]
    facts = [
        ("began", _time(submission.began)),
        ("by", submission.by),
        ("asked to end", submission.stopped),
        *submission.facts,
    ]
    lines += _columns([(name, value) for name, value in facts if value])
    if submission.failure:
        lines += ["", *(f"  {line}".rstrip() for line in submission.failure.splitlines())]
    return lines


def _index(found: JobLedger, index: int, *, json_: bool) -> None:
    from airflow_batchemr.engine.history_reader import index_history

    told = index_history(found, index)
    if not told:
        raise LookupError(f"no attempt in {found.uri} has had the index {index}")
    if json_:
        _lines(dict(facts) for facts in told)
        return
    sys.stdout.write("\n\n".join("\n".join(_columns(facts, "")) for facts in told) + "\n")


def _columns(facts: list[tuple[str, str]], margin: str = "  ") -> list[str]:
    width = max(len(name) for name, _ in facts)
    return [f"{margin}{name:<{width}}  {value}" for name, value in facts]


def _time(when: datetime | None) -> str:
    return when.strftime("%Y-%m-%d %H:%M:%S UTC") if when else "-"


def _took(began: datetime | None, ended: datetime | None) -> str:
    return common.duration(max(0.0, (ended - began).total_seconds())) if began and ended else "-"


def _job_json(pipeline: str, run_key: str, story: JobHistory) -> dict[str, Any]:
    return {
        "pipeline": pipeline,
        "run_key": run_key,
        "job": story.job,
        "state": story.state,
        "done": story.done,
        "size": story.size,
        "began": story.began,
        "ended": story.ended,
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
            for one in story.submissions
        ],
    }


def _lines(records: Any) -> None:
    for record in records:
        sys.stdout.write(json.dumps(record, default=lambda value: value.isoformat()) + "\n")
