"""The pages: pipelines, runs, jobs, submissions and indices. They are read-only and require Airflow's login.

AWS is queried only for submissions without a recorded result, with short timeouts, because a user is waiting.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.models.dag import DagModel
from botocore.exceptions import BotoCoreError, ClientError
from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from pydantic import BeforeValidator, Field

from airflow_batchemr import settings
from airflow_batchemr.aws.errors import AwsError, classify
from airflow_batchemr.aws.remote_work import AnyRemoteWorkReader
from airflow_batchemr.aws.retry import INTERACTIVE
from airflow_batchemr.connections import known_secrets
from airflow_batchemr.core.foreign_text import clean
from airflow_batchemr.core.indices import MAX_INDICES
from airflow_batchemr.core.secret_values import without
from airflow_batchemr.engine.history import observed_job, run_histories
from airflow_batchemr.engine.unrecorded import merge
from airflow_batchemr.ledger import LedgerError, NameInvalidError
from airflow_batchemr.plugin.state_location import NoConnectionError, configured, state_locations_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser

    from airflow_batchemr.engine.history import Fact, JobHistory
    from airflow_batchemr.engine.unrecorded import RemoteWorkReader
    from airflow_batchemr.ledger import Ledger
    from airflow_batchemr.plugin.state_location import StateLocation

#: Number of newest runs on the page of a pipeline.
SHOWN_RUNS = 30
#: Rows or columns of the other tables, and characters of one text.
SHOWN_ROWS, SHOWN_TEXT = 200, 50_000
#: What one page reads at most: objects of the ledger (30 runs of 40 jobs with one submission each are 6,000), their
#: total size in bytes, and open submissions about which AWS is queried.
READ_OBJECTS, READ_BYTES, QUERIED = 10_000, 64 << 20, 200
#: Pages load no resources and run no scripts, and only Airflow's pages can embed them.
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "form-action 'self'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
}


def visible(value: Any) -> Any:
    """Make control characters and bidirectional text of a value visible. Markup is of our own templates."""
    return value if isinstance(value, Markup) else clean(str(value))


_templates = Environment(
    loader=PackageLoader("airflow_batchemr.plugin"),
    autoescape=True,
    finalize=visible,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters |= {
    "moment": lambda when: when.strftime("%Y-%m-%d %H:%M:%S") if when else "-",
    "cut": lambda text: text if len(text) <= SHOWN_TEXT else f"{text[:SHOWN_TEXT]}… ({len(text):,} characters)",
}

#: An empty field of the form is no index.
Index = Annotated[Annotated[int, Field(ge=0, lt=MAX_INDICES)] | None, BeforeValidator(lambda given: given or None)]
#: Users who may see a Dag's task instances may see what they have run: Airflow shows them the rendered commands, too.
Allowed = Depends(requires_access_dag("GET", DagAccessEntity.TASK_INSTANCE))
NO_LOGS = "Failure reports and reasons, which quote logs, are shown to users who may read the task logs of the Dag."
#: Fact about an index that may quote a log.
_QUOTES = "reason"


@dataclass(frozen=True)
class Source:
    """One of the ledgers that a page shows."""

    ledger: Ledger
    reader: RemoteWorkReader
    secrets: frozenset[str]
    """Secret values of the connection."""
    queried: int
    """Open submissions about which AWS may be queried."""


def pages() -> FastAPI:
    """Return the app with all pages."""
    app = FastAPI(title="batchemr", docs_url=None, redoc_url=None, openapi_url=None)
    app.get("/", response_class=HTMLResponse)(pipelines)
    checks = [Depends(dag_id_form), Allowed]
    app.get("/{dag_id}", response_class=HTMLResponse, dependencies=checks)(pipeline)
    return app


def dag_id_form(dag_id: str) -> None:
    """Answer 404 to what no Dag id can be in Airflow, before it reaches the database; PostgreSQL rejects NUL."""
    if not re.fullmatch(r"[\w.-]{1,250}", dag_id):
        raise HTTPException(404, "There is no such Dag")


def pipelines(user: GetUserDep) -> HTMLResponse:
    """Show the pipelines in the configured ledger that the user may see."""

    def found(source: Source) -> dict[str, Any]:
        allowed = get_auth_manager().get_authorized_dag_ids(user=user, method="GET")
        names = [name for name in source.ledger.pipelines() if name in allowed]
        names = [name for name in names if _may_read(DagAccessEntity.TASK_INSTANCE, name, user)]
        rows, notes = [], _left_out("pipelines", names)
        for name in names[:SHOWN_ROWS]:
            try:
                rows.append((name, source.ledger.runs(name)))
            except LedgerError as error:
                if error.retryable:
                    raise
                notes.append(str(error))
        return {"rows": rows, "notes": notes}

    return _page("pipelines.html", [configured()], found, lambda parts: parts[0])


def pipeline(
    dag_id: str,
    user: GetUserDep,
    run_key: str | None = None,
    job: str | None = None,
    index: Index = None,
) -> HTMLResponse:
    """Show a pipeline's last runs; with `run_key`, its jobs; with `job`, its submissions; with `index`, one index."""
    places = state_locations_of(dag_id, job)
    if not run_key:
        return _page("runs.html", places, lambda source: _runs(source, dag_id), _merged_runs)
    if not job:
        return _page("jobs.html", places, lambda source: _jobs(source, dag_id, run_key), _merged_jobs)
    logs = _may_read(DagAccessEntity.TASK_LOGS, dag_id, user)
    return _page("job.html", places, lambda source: _job(source, (dag_id, run_key, job), index, logs=logs), _the_job)


def _may_read(entity: DagAccessEntity, dag_id: str, user: BaseUser) -> bool:
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    manager = get_auth_manager()
    return bool(manager.is_authorized_dag(method="GET", access_entity=entity, details=details, user=user))


def _runs(source: Source, dag_id: str) -> dict[str, Any]:
    keys = source.ledger.runs(dag_id)
    shown = keys[: -SHOWN_RUNS - 1 : -1]
    runs = run_histories(source.ledger, dag_id, shown, source.reader, most=source.queried)
    return {
        "dag_id": dag_id,
        "keys": keys,
        "runs": dict(zip(shown, runs, strict=True)),
        "notes": _notes([job for jobs in runs for job in jobs], source.secrets),
    }


def _merged_runs(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Merge the runs of several ledgers: a run has the jobs of all."""
    keys = sorted({key for part in parts for key in part["keys"]})
    shown = keys[: -SHOWN_RUNS - 1 : -1]
    runs = [[job for part in parts for job in part["runs"].get(key, ())] for key in shown]
    names = list(dict.fromkeys(job.job for jobs in reversed(runs) for job in jobs))
    rows = [(key, {job.job: job for job in jobs}) for key, jobs in zip(shown, runs, strict=True)]
    return {
        "dag_id": parts[0]["dag_id"],
        "names": names[:SHOWN_ROWS],
        "rows": rows,
        "count": len(keys),
        "notes": _left_out("jobs", names) + _all_notes(parts),
    }


def _jobs(source: Source, dag_id: str, run_key: str) -> dict[str, Any]:
    (jobs,) = run_histories(source.ledger, dag_id, [run_key], source.reader, most=source.queried)
    return {"dag_id": dag_id, "run_key": run_key, "jobs": jobs, "notes": _notes(jobs, source.secrets)}


def _merged_jobs(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    jobs = [job for part in parts for job in part["jobs"]]
    return {**parts[0], "jobs": jobs[:SHOWN_ROWS], "notes": _left_out("jobs", jobs) + _all_notes(parts)}


def _job(source: Source, who: tuple[str, str, str], index: int | None, *, logs: bool) -> dict[str, Any]:
    observed = observed_job(source.ledger, *who, source.reader, most=source.queried)
    history = observed.history()
    secrets = source.secrets | known_secrets(merge(observed.records.state, observed.sightings).submissions)

    def shown(facts: Sequence[Fact]) -> list[Fact]:
        return [(name, without(secrets, value)) for name, value in facts if logs or name != _QUOTES]

    submissions = [
        replace(one, facts=shown(one.facts), failure=without(secrets, one.failure) if logs else "")
        for one in history.submissions[: -SHOWN_ROWS - 1 : -1]
    ]
    notes = [*_left_out("submissions", history.submissions), *_notes([history], secrets)]
    return {
        "dag_id": who[0],
        "run_key": who[1],
        "job": history,
        "submissions": submissions,
        "notes": notes if logs else [*notes, NO_LOGS],
        "uri": source.ledger.job(*who).uri,
        "index": index,
        "indices": None if index is None else [shown(facts) for facts in observed.index_history(index)[-SHOWN_ROWS:]],
    }


def _the_job(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the part of the ledger that has the job. Several are read only if no task of the Dag has it any more."""
    return {**max(parts, key=lambda part: len(part["job"].submissions)), "notes": _all_notes(parts)}


def _notes(jobs: Sequence[JobHistory], secrets: frozenset[str]) -> list[str]:
    return list(dict.fromkeys(without(secrets, job.note) for job in jobs if job.note))


def _all_notes(parts: Sequence[dict[str, Any]]) -> list[str]:
    notes = list(dict.fromkeys(note for part in parts for note in part["notes"]))
    return notes[:SHOWN_ROWS] + _left_out("notes", notes)


def _left_out(what: str, rows: Sequence[object]) -> list[str]:
    """Return a note if a page does not show all rows."""
    return [f"{SHOWN_ROWS} of {len(rows):,} {what} are shown; all: batchemr history"] if len(rows) > SHOWN_ROWS else []


def _page(
    template: str,
    places: Sequence[StateLocation],
    found: Callable[[Source], dict[str, Any]],
    merged: Callable[[Sequence[dict[str, Any]]], dict[str, Any]],
) -> HTMLResponse:
    """Render a template with what is found in the ledgers that can be read, or an error if none can be read."""
    parts, errors = [], []
    for place in places:
        try:
            clients, secrets = place.open()
            reader = AnyRemoteWorkReader(clients.with_config(INTERACTIVE), settings.engine_policy())
            ledger = clients.ledger(place.state)
            ledger.limit_reads(READ_OBJECTS // len(places), READ_BYTES // len(places))
            parts.append(found(Source(ledger, reader, secrets, QUERIED // len(places))))
        except NameInvalidError as error:
            return HTMLResponse(_templates.get_template("error.html").render(error=str(error)), 404, _HEADERS)
        except (LedgerError, AwsError, NoConnectionError) as error:
            errors.append(str(error))
        except (BotoCoreError, ClientError) as error:
            errors.append(str(classify(error)))
    if not parts:
        return HTMLResponse(_templates.get_template("error.html").render(error="\n".join(errors)), 502, _HEADERS)
    values = merged(parts)
    values["notes"] = [*values["notes"], *errors]
    return HTMLResponse(_templates.get_template(template).render(values), 200, _HEADERS)
