"""Pages for pipelines, runs, jobs, submissions and indices. Read-only, and protected by Airflow's login."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from botocore.exceptions import BotoCoreError, ClientError
from fastapi import Depends, FastAPI, Query
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from airflow_batchemr.aws.errors import AwsError, classify
from airflow_batchemr.connections import connection_clients
from airflow_batchemr.engine.history_reader import index_history, job_history, run_history
from airflow_batchemr.ledger import Ledger, LedgerError
from airflow_batchemr.plugin.state_location import configured, state_location_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_batchemr.plugin.state_location import StateLocation

#: Number of latest runs on the page of a pipeline.
SHOWN_RUNS = 30
#: Number of runs that are read concurrently.
_THREADS = 8
#: Do not load external resources, run scripts, or allow framing by pages other than Airflow's.
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

#: Users who may see the task instances of a Dag may see what they ran.
Allowed = Depends(requires_access_dag("GET", DagAccessEntity.TASK_INSTANCE))


def pages() -> FastAPI:
    """Create the app with all pages."""
    app = FastAPI(title="batchemr", docs_url=None, redoc_url=None, openapi_url=None)
    app.get("/", response_class=HTMLResponse)(pipelines)
    app.get("/{dag_id}", response_class=HTMLResponse, dependencies=[Allowed])(pipeline)
    return app


def pipelines(user: GetUserDep) -> HTMLResponse:
    """List the pipelines in the configured ledger that the user may see."""

    def found(ledger: Ledger) -> dict[str, Any]:
        allowed = get_auth_manager().get_authorized_dag_ids(user=user, method="GET")
        names = [name for name in ledger.pipelines() if name in allowed]
        return {"rows": [(name, ledger.runs(name)) for name in names]}

    return _page("pipelines.html", configured(), found)


def pipeline(
    dag_id: str, run_key: str | None = None, job: str | None = None, index: Annotated[int | None, Query(ge=0)] = None
) -> HTMLResponse:
    """Show the latest runs of a pipeline, the jobs of a run, the submissions of a job, or one index of a job."""
    location = state_location_of(dag_id)
    if run_key is None:
        return _page("runs.html", location, lambda ledger: {"dag_id": dag_id, **_runs(ledger, dag_id)})
    run = {"dag_id": dag_id, "run_key": run_key}
    if job is None:
        return _page("jobs.html", location, lambda ledger: {**run, "jobs": run_history(ledger, dag_id, run_key)})
    return _page("job.html", location, lambda ledger: {**run, **_job(ledger, dag_id, run_key, job, index)})


def _runs(ledger: Ledger, dag_id: str) -> dict[str, Any]:
    keys = ledger.runs(dag_id)
    shown = keys[: -SHOWN_RUNS - 1 : -1]
    with ThreadPoolExecutor(_THREADS) as threads:
        runs = list(threads.map(lambda key: {one.job: one for one in run_history(ledger, dag_id, key)}, shown))
    names = list(dict.fromkeys(name for row in reversed(runs) for name in row))
    return {"names": names, "rows": list(zip(shown, runs, strict=True)), "count": len(keys)}


def _job(ledger: Ledger, dag_id: str, run_key: str, job: str, index: int | None) -> dict[str, Any]:
    found = ledger.job(dag_id, run_key, job)
    history = job_history(found, job, ["batchemr", "replay", dag_id, run_key, job, "--state", ledger.uri])
    indices = None if index is None else index_history(found, index)
    return {"history": history, "uri": found.uri, "index": index, "indices": indices}


def _page(template: str, location: StateLocation, read: Callable[[Ledger], dict[str, Any]]) -> HTMLResponse:
    """Render a template with values read from the ledger, or the error page if the ledger cannot be read."""
    values: dict[str, Any]
    try:
        values = read(Ledger(connection_clients(location.aws_conn_id, location.region).s3, location.state))
        status = 200
    except (LedgerError, AwsError) as error:
        template, values, status = "error.html", {"error": str(error)}, 502
    except (BotoCoreError, ClientError) as error:
        template, values, status = "error.html", {"error": str(classify(error))}, 502
    return HTMLResponse(_templates.get_template(template).render(values), status, _HEADERS)
