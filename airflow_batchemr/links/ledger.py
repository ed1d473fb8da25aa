"""The ledger's place in S3."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from airflow_batchemr.links.base import AwsLink, console


class LedgerLink(AwsLink):
    """The job's folder in the ledger."""

    name = "Ledger"

    @staticmethod
    def address(region: str, uri: str) -> str:
        """Where the console shows the folder of an s3:// URI."""
        parts = urlsplit(uri)
        prefix = quote(parts.path.lstrip("/"), safe="/")
        return console(region, f"s3/buckets/{parts.netloc}?region={region}&prefix={prefix}")
