"""Logs of steps and bootstrap actions in S3, in EMR's layout below LogUri."""

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
    """Return the current output of a command by path relative to the cluster's log folder.

    Args:
        prepared: Folder of its files: `stdout`, `stderr`, and `containers/…` of Spark's cluster mode.
        folder: Path of its logs, such as `steps/s-…`.
        controller: EMR's controller log for it.
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
    """Write gzipped logs below `<LogUri>/<cluster>/`. Does nothing without LogUri or if its bucket is missing."""
    if cluster.log_folder is None:
        return
    bucket, prefix = cluster.log_folder
    for name, content in logs.items():
        try:
            upstream.put_object(bucket, f"{prefix}/{name}.gz", gzip.compress(content, mtime=0))
        except UpstreamError as error:
            log.warning("cannot write the logs of %s to s3://%s/%s: %s", cluster.id, bucket, prefix, error)
            return
