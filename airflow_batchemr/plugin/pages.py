"""The pages: pipelines, runs, jobs, submissions and indices. They are read-only and require Airflow's login.

AWS is queried only for submissions without a recorded result, with short timeouts, because a user is waiting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from botocore.exceptions import BotoCoreError, ClientError
from fastapi import Depends, FastAPI, Query
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from airflow_batchemr import settings
from airflow_batchemr.aws.errors import AwsError, classify
from airflow_batchemr.aws.remote_work import AnyRemoteWorkReader
from airflow_batchemr.aws.retry import INTERACTIVE
from airflow_batchemr.connections import connection_clients
from airflow_batchemr.engine.history import observed_job, run_histories
from airflow_batchemr.ledger import Ledger, LedgerError
from airflow_batchemr.plugin.state_location import configured, state_location_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_batchemr.engine.history import JobHistory
    from airflow_batchemr.engine.unrecorded import RemoteWorkReader
    from airflow_batchemr.plugin.state_location import StateLocation

    Found = Callable[[Ledger, RemoteWorkReader], dict[str, Any]]

#: Number of newest runs on the page of a pipeline.
SHOWN_RUNS = 30
#: Pages load no resources and run no scripts, and only Airflow's pages can embed them.
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "form-action 'self'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
}
_templates = Environment(
    loader=PackageLoader("airflow_batchemr.plugin"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters |= {"moment": lambda when: when.strftime("%Y-%m-%d %H:%M:%S") if when else "-"}

#: Users who may see a Dag's task instances may see what they have run.
Allowed = Depends(requires_access_dag("GET", DagAccessEntity.TASK_INSTANCE))


def pages() -> FastAPI:
    """Return the app with all pages."""
    app = FastAPI(title="batchemr", docs_url=None, redoc_url=None, openapi_url=None)
    app.get("/", response_class=HTMLResponse)(pipelines)
    app.get("/{dag_id}", response_class=HTMLResponse, dependencies=[Allowed])(pipeline)
    return app


def pipelines(user: GetUserDep) -> HTMLResponse:
    """Show the pipelines in the configured ledger that the user may see."""

    def found(ledger: Ledger, _: RemoteWorkReader) -> dict[str, Any]:
        allowed = get_auth_manager().get_authorized_dag_ids(user=user, method="GET")
        names = [name for name in ledger.pipelines() if name in allowed]
        return {"rows": [(name, ledger.runs(name)) for name in names]}

    return _page("pipelines.html", configured(), found)


def pipeline(
    dag_id: str, run_key: str | None = None, job: str | None = None, index: Annotated[int | None, Query(ge=0)] = None
) -> HTMLResponse:
    """Show a pipeline's last runs; with `run_key`, its jobs; with `job`, its submissions; with `index`, one index."""
    place = state_location_of(dag_id)
    if run_key is None:
        return _page("runs.html", place, lambda ledger, reader: _runs(ledger, reader, dag_id))
    if job is None:
        return _page("jobs.html", place, lambda ledger, reader: _jobs(ledger, reader, dag_id, run_key))
    return _page("job.html", place, lambda ledger, reader: _job(ledger, reader, (dag_id, run_key, job), index))


def _runs(ledger: Ledger, reader: RemoteWorkReader, dag_id: str) -> dict[str, Any]:
    keys = ledger.runs(dag_id)
    shown = keys[: -SHOWN_RUNS - 1 : -1]
    runs = run_histories(ledger, dag_id, shown, reader)
    names = list(dict.fromkeys(job.job for jobs in reversed(runs) for job in jobs))
    rows = [(key, {job.job: job for job in jobs}) for key, jobs in zip(shown, runs, strict=True)]
    return {
        "dag_id": dag_id,
        "names": names,
        "rows": rows,
        "count": len(keys),
        "notes": _notes([job for jobs in runs for job in jobs]),
    }


def _jobs(ledger: Ledger, reader: RemoteWorkReader, dag_id: str, run_key: str) -> dict[str, Any]:
    (jobs,) = run_histories(ledger, dag_id, [run_key], reader)
    return {"dag_id": dag_id, "run_key": run_key, "jobs": jobs, "notes": _notes(jobs)}


def _job(ledger: Ledger, reader: RemoteWorkReader, who: tuple[str, str, str], index: int | None) -> dict[str, Any]:
    observed = observed_job(ledger, *who, reader)
    job = observed.history()
    return {
        "dag_id": who[0],
        "run_key": who[1],
        "job": job,
        "notes": _notes([job]),
        "uri": ledger.job(*who).uri,
        "index": index,
        "indices": None if index is None else observed.index_history(index),
    }


def _notes(jobs: list[JobHistory]) -> list[str]:
    return list(dict.fromkeys(job.note for job in jobs if job.note))


def _page(template: str, place: StateLocation, found: Found) -> HTMLResponse:
    """Render a template, or an error if the ledger cannot be read."""
    values: dict[str, Any]
    try:
        clients = connection_clients(place.aws_conn_id, place.region)
        reader = AnyRemoteWorkReader(clients.with_config(INTERACTIVE), settings.engine_policy())
        values = found(clients.ledger(place.state), reader)
        status = 200
    except (LedgerError, AwsError) as error:
        template, values, status = "error.html", {"error": str(error)}, 502
    except (BotoCoreError, ClientError) as error:
        template, values, status = "error.html", {"error": str(classify(error))}, 502
    return HTMLResponse(_templates.get_template(template).render(values), status, _HEADERS)
