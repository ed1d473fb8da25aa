"""Airflow plugin with pages that show what ran, from the ledger.

Airflow imports this module in every process, including task processes, so it imports only Airflow's plugin class.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from airflow_batchemr.links.history import PREFIX


class _Pages:
    """ASGI app of the pages. Created at the first request, because only the API server receives requests."""

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._app is None:
            from airflow_batchemr.plugin.pages import pages

            self._app = pages()
        await self._app(scope, receive, send)


class BatchemrPlugin(AirflowPlugin):
    """Adds the pages and their navigation entry."""

    name = "batchemr"
    fastapi_apps: list[dict[str, Any]] = [  # noqa: RUF012 - as Airflow's class declares it
        {"app": _Pages(), "url_prefix": PREFIX, "name": "Runs on AWS Batch and EMR"}
    ]
    external_views: list[dict[str, Any]] = [  # noqa: RUF012
        {
            "name": "Batch and EMR runs",
            "href": f"{PREFIX[1:]}/",  # no leading slash: relative to Airflow's base URL, which may have a path
            "destination": "nav",
            "category": "browse",
            "url_route": "batchemr",
        }
    ]
