"""The pages: pipelines, runs of one, jobs of a run, attempts of a job, one index. Read only, behind Airflow's login."""

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

#: Runs that a pipeline's page shows, the newest.
SHOWN_RUNS = 30
#: Runs that are read at the same time.
_THREADS = 8
#: Nothing is loaded from anywhere, no script runs, and nobody but Airflow's own pages frames them.
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

#: Whoever may see a Dag's task instances may see what they have run.
Allowed = Depends(requires_access_dag("GET", DagAccessEntity.TASK_INSTANCE))


def pages() -> FastAPI:
    """The app with all pages."""
    app = FastAPI(title="batchemr", docs_url=None, redoc_url=None, openapi_url=None)
    app.get("/", response_class=HTMLResponse)(pipelines)
    app.get("/{dag_id}", response_class=HTMLResponse, dependencies=[Allowed])(pipeline)
    return app


def pipelines(user: GetUserDep) -> HTMLResponse:
    """The pipelines in the configured ledger that the user may see."""

    def found(ledger: Ledger) -> dict[str, Any]:
        allowed = get_auth_manager().get_authorized_dag_ids(user=user, method="GET")
        names = [name for name in ledger.pipelines() if name in allowed]
        return {"rows": [(name, ledger.runs(name)) for name in names]}

    return _page("pipelines.html", configured(), found)


def pipeline(
    dag_id: str, run_key: str | None = None, job: str | None = None, index: Annotated[int | None, Query(ge=0)] = None
) -> HTMLResponse:
    """A pipeline's last runs; with `run_key` the jobs of that run, with `job` its attempts, with `index` one index."""
    place = state_location_of(dag_id)
    if run_key is None:
        return _page("runs.html", place, lambda ledger: {"dag_id": dag_id, **_runs(ledger, dag_id)})
    who = {"dag_id": dag_id, "run_key": run_key}
    if job is None:
        return _page("jobs.html", place, lambda ledger: {**who, "jobs": run_history(ledger, dag_id, run_key)})
    return _page("job.html", place, lambda ledger: {**who, **_job(ledger, dag_id, run_key, job, index)})


def _runs(ledger: Ledger, dag_id: str) -> dict[str, Any]:
    keys = ledger.runs(dag_id)
    shown = keys[: -SHOWN_RUNS - 1 : -1]
    with ThreadPoolExecutor(_THREADS) as threads:
        told = list(threads.map(lambda key: {one.job: one for one in run_history(ledger, dag_id, key)}, shown))
    names = list(dict.fromkeys(name for row in reversed(told) for name in row))
    return {"names": names, "rows": list(zip(shown, told, strict=True)), "count": len(keys)}


def _job(ledger: Ledger, dag_id: str, run_key: str, job: str, index: int | None) -> dict[str, Any]:
    found = ledger.job(dag_id, run_key, job)
    story = job_history(found, job, ["batchemr", "replay", dag_id, run_key, job, "--state", ledger.uri])
    indices = None if index is None else index_history(found, index)
    return {"story": story, "uri": found.uri, "index": index, "indices": indices}


def _page(template: str, place: StateLocation, found: Callable[[Ledger], dict[str, Any]]) -> HTMLResponse:
    """Fill in a template, or say what kept from reading the ledger."""
    values: dict[str, Any]
    try:
        values = found(Ledger(connection_clients(place.aws_conn_id, place.region).s3, place.state))
        status = 200
    except (LedgerError, AwsError) as error:
        template, values, status = "error.html", {"error": str(error)}, 502
    except (BotoCoreError, ClientError) as error:
        template, values, status = "error.html", {"error": str(classify(error))}, 502
    return HTMLResponse(_templates.get_template(template).render(values), status, _HEADERS)
