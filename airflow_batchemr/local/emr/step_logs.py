"""Logs of steps and bootstrap actions in S3, as EMR lays them out below LogUri."""

from __future__ import annotations

import gzip
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from airflow_batchemr.local.upstream import Upstream, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from airflow_batchemr.local.emr.state import Cluster

__all__ = ["collect", "keep"]

log = logging.getLogger(__name__)


def collect(prepared: Path, folder: str, controller: str) -> dict[str, bytes]:
    """What a command has written until now, by the place below the cluster's log folder.

    Args:
        prepared: where its files are: `stdout`, `stderr`, and `containers/…` of Spark's cluster mode.
        folder: the place of its own logs, for example `steps/s-…`.
        controller: EMR's own log of it.
    """
    logs = {f"{folder}/controller": controller.encode()}
    for kind in ("stdout", "stderr"):
        with suppress(OSError):
            logs[f"{folder}/{kind}"] = (prepared / kind).read_bytes()
    for path in sorted((prepared / "containers").rglob("*")):
        if path.is_file():
            logs[str(path.relative_to(prepared))] = path.read_bytes()
    return logs


def keep(upstream: Upstream, cluster: Cluster, logs: Mapping[str, bytes]) -> None:
    """Puts logs, gzipped, below `<LogUri>/<cluster>/`. Without LogUri, or without its bucket, there are none."""
    place = cluster.log_folder
    if place is None:
        return
    bucket, prefix = place
    for name, content in logs.items():
        try:
            upstream.put_object(bucket, f"{prefix}/{name}.gz", gzip.compress(content, mtime=0))
        except UpstreamError as error:
            log.warning("the logs of %s could not be written to s3://%s/%s: %s", cluster.id, bucket, prefix, error)
            return
