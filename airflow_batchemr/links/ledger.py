"""Link to the ledger in S3."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from airflow_batchemr.links.base import AwsLink, console


class LedgerLink(AwsLink):
    """Link to the job's folder in the ledger."""

    name = "Ledger"

    @staticmethod
    def address(region: str, uri: str) -> str:
        """Return the console URL of the folder at an s3:// URI."""
        parts = urlsplit(uri)
        prefix = quote(parts.path.lstrip("/"), safe="/")
        return console(region, f"s3/buckets/{parts.netloc}?region={region}&prefix={prefix}")
