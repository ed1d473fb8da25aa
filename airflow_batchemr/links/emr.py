"""Links to EMR clusters and their logs."""

from __future__ import annotations

from urllib.parse import quote

from airflow_batchemr.links.base import AwsLink, console


class EmrClusterLink(AwsLink):
    """Link to the cluster that the task uses or used last."""

    name = "EMR cluster"

    @staticmethod
    def address(region: str, cluster_id: str) -> str:
        """Return the console URL of the cluster."""
        return console(region, f"emr/home?region={region}#/clusterDetails/{quote(cluster_id)}")


class EmrLogsLink(AwsLink):
    """Link to the cluster's folder below its log URI."""

    name = "EMR logs"

    @staticmethod
    def address(region: str, log_uri: str, cluster_id: str) -> str:
        """Return the console URL of the folder."""
        bucket, _, prefix = log_uri.partition("://")[2].partition("/")
        folder = "/".join(part for part in (prefix.strip("/"), cluster_id) if part)
        return console(region, f"s3/buckets/{quote(bucket)}?region={region}&prefix={quote(folder, safe='')}/")
