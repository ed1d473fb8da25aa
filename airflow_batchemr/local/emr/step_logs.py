"""Logs of steps and bootstrap actions in S3, in EMR's layout below LogUri."""

from __future__ import annotations

import gzip
import logging
import shlex
from contextlib import suppress
from typing import TYPE_CHECKING

from airflow_batchemr.local.emr.state import now
from airflow_batchemr.local.upstream import Upstream, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from airflow_batchemr.local.emr.state import Cluster
    from airflow_batchemr.local.processes import Ended

__all__ = ["collect", "ended", "keep", "stamp", "started"]

log = logging.getLogger(__name__)


def stamp() -> str:
    """Return the time in the format of EMR's own logs: `2026-11-20T01:02:34.684Z`."""
    return now().isoformat(timespec="milliseconds").replace("+00:00", "Z")


def started(name: str, argv: Sequence[str]) -> str:
    """Return what EMR's step runner writes into the controller log before a step, like the logs of public reports."""
    return (
        f"{stamp()} INFO Ensure step {name} jar file command-runner.jar\n"
        f"{stamp()} INFO StepRunner: Created Runner for step {name}\n"
        f"INFO startExec '{shlex.join(argv)}'\n"
        "INFO Environment:\n  PATH=/usr/sbin:/usr/bin\n  LOG_LEVEL=error\n"
        f"INFO redirectOutput to /mnt/var/log/hadoop/steps/{name}/stdout\n"
        f"INFO redirectError to /mnt/var/log/hadoop/steps/{name}/stderr\n"
        "INFO ProcessRunner started child process 1234\n"
    )


def ended(argv: Sequence[str], end: Ended, seconds: float) -> str:
    """Return what it writes after the step."""
    if end.error is not None:
        return f"{stamp()} ERROR Cannot run program: {end.error}\n"
    how = "INFO Step succeeded" if end.code == 0 else "WARN Step failed"
    return (
        f"INFO waitProcessCompletion ended with exit code {end.code} : {shlex.join(argv)[:60]}\n"
        f"INFO total process run time: {seconds:.0f} seconds\n"
        f"{stamp()} INFO Step created jobs:\n"
        f"{stamp()} {how} with exitCode {end.code} and took {seconds:.0f} seconds\n"
    )


def collect(prepared: Path, folder: str, controller: str) -> dict[str, bytes]:
    """Return the current output of a command by path relative to the cluster's log folder.

    Args:
        prepared: Folder of its files: `stdout`, `stderr`, Hadoop's `syslog`, `containers/…` of its YARN containers, and
            `hadoop-mapreduce/…` with the history of its jobs.
        folder: Path of its logs, such as `steps/s-…`.
        controller: EMR's controller log for it.
    """
    logs = {f"{folder}/controller": controller.encode()}
    for kind in ("stdout", "stderr", "syslog"):
        with suppress(OSError):
            logs[f"{folder}/{kind}"] = (prepared / kind).read_bytes()
    for name in ("containers", "hadoop-mapreduce"):
        for path in sorted((prepared / name).rglob("*")):
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
