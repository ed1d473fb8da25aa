"""The pages: pipelines, runs, jobs, submissions and indices. They are read-only and require Airflow's login.

AWS is queried only for submissions without a recorded result, with short timeouts, because a user is waiting.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
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
from airflow_batchemr.connections import connection_clients
from airflow_batchemr.core.foreign_text import clean
from airflow_batchemr.core.indices import MAX_INDICES
from airflow_batchemr.engine.history import observed_job, run_histories
from airflow_batchemr.ledger import Ledger, LedgerError, NameInvalidError
from airflow_batchemr.plugin.state_location import configured, state_location_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_batchemr.engine.history import JobHistory
    from airflow_batchemr.engine.unrecorded import RemoteWorkReader
    from airflow_batchemr.plugin.state_location import StateLocation

    Found = Callable[[Ledger, RemoteWorkReader], dict[str, Any]]

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
#: Users who may see a Dag's task instances may see what they have run.
Allowed = Depends(requires_access_dag("GET", DagAccessEntity.TASK_INSTANCE))


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

    def found(ledger: Ledger, _: RemoteWorkReader) -> dict[str, Any]:
        allowed = get_auth_manager().get_authorized_dag_ids(user=user, method="GET")
        names = [name for name in ledger.pipelines() if name in allowed]
        rows, notes = [], _left_out("pipelines", names)
        for name in names[:SHOWN_ROWS]:
            try:
                rows.append((name, ledger.runs(name)))
            except LedgerError as error:
                if error.retryable:
                    raise
                notes.append(str(error))
        return {"rows": rows, "notes": notes}

    return _page("pipelines.html", configured(), found)


def pipeline(
    dag_id: str,
    run_key: str | None = None,
    job: str | None = None,
    index: Index = None,
) -> HTMLResponse:
    """Show a pipeline's last runs; with `run_key`, its jobs; with `job`, its submissions; with `index`, one index."""
    place = state_location_of(dag_id)
    if not run_key:
        return _page("runs.html", place, lambda ledger, reader: _runs(ledger, reader, dag_id))
    if not job:
        return _page("jobs.html", place, lambda ledger, reader: _jobs(ledger, reader, dag_id, run_key))
    return _page("job.html", place, lambda ledger, reader: _job(ledger, reader, (dag_id, run_key, job), index))


def _runs(ledger: Ledger, reader: RemoteWorkReader, dag_id: str) -> dict[str, Any]:
    keys = ledger.runs(dag_id)
    shown = keys[: -SHOWN_RUNS - 1 : -1]
    runs = run_histories(ledger, dag_id, shown, reader, most=QUERIED)
    names = list(dict.fromkeys(job.job for jobs in reversed(runs) for job in jobs))
    rows = [(key, {job.job: job for job in jobs}) for key, jobs in zip(shown, runs, strict=True)]
    return {
        "dag_id": dag_id,
        "names": names[:SHOWN_ROWS],
        "rows": rows,
        "count": len(keys),
        "notes": _left_out("jobs", names) + _notes([job for jobs in runs for job in jobs]),
    }


def _jobs(ledger: Ledger, reader: RemoteWorkReader, dag_id: str, run_key: str) -> dict[str, Any]:
    (jobs,) = run_histories(ledger, dag_id, [run_key], reader, most=QUERIED)
    notes = _left_out("jobs", jobs) + _notes(jobs)
    return {"dag_id": dag_id, "run_key": run_key, "jobs": jobs[:SHOWN_ROWS], "notes": notes}


def _job(ledger: Ledger, reader: RemoteWorkReader, who: tuple[str, str, str], index: int | None) -> dict[str, Any]:
    observed = observed_job(ledger, *who, reader, most=QUERIED)
    job = observed.history()
    return {
        "dag_id": who[0],
        "run_key": who[1],
        "job": job,
        "submissions": job.submissions[: -SHOWN_ROWS - 1 : -1],
        "notes": _left_out("submissions", job.submissions) + _notes([job]),
        "uri": ledger.job(*who).uri,
        "index": index,
        "indices": None if index is None else observed.index_history(index)[-SHOWN_ROWS:],
    }


def _notes(jobs: list[JobHistory]) -> list[str]:
    notes = list(dict.fromkeys(job.note for job in jobs if job.note))
    return notes[:SHOWN_ROWS] + _left_out("notes", notes)


def _left_out(what: str, rows: Sequence[object]) -> list[str]:
    """Return a note if a page does not show all rows."""
    return [f"{SHOWN_ROWS} of {len(rows):,} {what} are shown; all: batchemr history"] if len(rows) > SHOWN_ROWS else []


def _page(template: str, place: StateLocation, found: Found) -> HTMLResponse:
    """Render a template, or an error if the ledger cannot be read."""
    values: dict[str, Any]
    try:
        clients = connection_clients(place.aws_conn_id, place.region)
        reader = AnyRemoteWorkReader(clients.with_config(INTERACTIVE), settings.engine_policy())
        ledger = clients.ledger(place.state)
        ledger.limit_reads(READ_OBJECTS, READ_BYTES)
        values = found(ledger, reader)
        status = 200
    except NameInvalidError as error:
        template, values, status = "error.html", {"error": str(error)}, 404
    except (LedgerError, AwsError) as error:
        template, values, status = "error.html", {"error": str(error)}, 502
    except (BotoCoreError, ClientError) as error:
        template, values, status = "error.html", {"error": str(classify(error))}, 502
    return HTMLResponse(_templates.get_template(template).render(values), status, _HEADERS)
