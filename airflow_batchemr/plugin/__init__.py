"""Pages in Airflow's UI: what has run, out of the ledger.

Airflow imports this module in every process, each task's too, so that it imports nothing but Airflow's plugin class.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from airflow_batchemr.links.history import PREFIX


class _Pages:
    """The ASGI app of the pages, made when the first request comes: only the API server gets any."""

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._app is None:
            from airflow_batchemr.plugin.pages import pages

            self._app = pages()
        await self._app(scope, receive, send)


class BatchemrPlugin(AirflowPlugin):
    """The pages, and their entry in the navigation."""

    name = "batchemr"
    fastapi_apps: list[dict[str, Any]] = [  # noqa: RUF012 - as Airflow's class declares it
        {"app": _Pages(), "url_prefix": PREFIX, "name": "What has run on AWS Batch and EMR"}
    ]
    external_views: list[dict[str, Any]] = [  # noqa: RUF012
        {
            "name": "Batch and EMR runs",
            "href": f"{PREFIX[1:]}/",  # no slash before it: relative to Airflow's address, which may have a path
            "destination": "nav",
            "category": "browse",
            "url_route": "batchemr",
        }
    ]
