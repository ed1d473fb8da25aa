"""Link to the page in Airflow that shows what a task has run on AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from airflow_batchemr.links.base import AwsLink

if TYPE_CHECKING:
    from airflow_batchemr.engine.job_identity import JobIdentity

#: URL prefix of the pages in Airflow's API server.
PREFIX = "/batchemr"


class HistoryLink(AwsLink):
    """Link to the submissions of a job, as recorded in the ledger."""

    name = "Submissions"

    @staticmethod
    def address(identity: JobIdentity) -> str:
        """Return the path of the page. It is relative to Airflow's server, which displays the link."""
        from airflow.sdk.configuration import conf

        base = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
        query = urlencode({"run_key": identity.run_key, "job": identity.job})
        return f"{base}{PREFIX}/{quote(identity.dag_id, safe='')}?{query}"
