"""The page in Airflow that tells what a task has run on AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from airflow_batchemr.links.base import AwsLink

if TYPE_CHECKING:
    from airflow_batchemr.engine.job_identity import JobIdentity

#: Where the pages are mounted in Airflow's API server.
PREFIX = "/batchemr"


class HistoryLink(AwsLink):
    """The job's attempts, as the ledger has them."""

    name = "Attempts"

    @staticmethod
    def address(identity: JobIdentity) -> str:
        """The page's path: the browser is at Airflow's server when it shows the link."""
        from airflow.sdk.configuration import conf

        base = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
        which = urlencode({"run_key": identity.run_key, "job": identity.job})
        return f"{base}{PREFIX}/{quote(identity.dag_id, safe='')}?{which}"
