"""Runs steps and bootstrap actions."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airflow_batchemr.local.emr import step_logs
from airflow_batchemr.local.emr.state import Cluster, Step, now
from airflow_batchemr.local.processes import Command, Ended, Processes
from airflow_batchemr.local.spark.settings import spark_environment, write_settings
from airflow_batchemr.local.upstream import Upstream, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_batchemr.local.clock import Clock

__all__ = ["Run", "Runner"]

#: Seconds, on AWS, between two uploads of a running step's logs.
LOG_INTERVAL = 300
#: Threads of Spark: more do not help the small work that is done here.
SPARK_CORES = 2


@dataclass(frozen=True)
class Run:
    """What became of a command.

    Attributes:
        code: exit code; None where it did not start.
        error: why it did not start.
        logs: what it has written, by the place below the cluster's log folder.
        stderr: the end of what it has written to stderr.
    """

    code: int | None
    error: str | None
    logs: dict[str, bytes]
    stderr: str = ""


class Runner:
    """Runs commands with one home a cluster, and a working folder each.

    Args:
        processes: runs the commands.
        upstream: moto, for S3.
        clock: for uploads of logs now and then.
        root: the folder.
        gateway: the address of S3 for Hadoop.
    """

    def __init__(self, processes: Processes, upstream: Upstream, clock: Clock, root: Path, gateway: str) -> None:
        self._processes = processes
        self._upstream = upstream
        self._clock = clock
        self._root = root
        self._gateway = gateway
        self._spark = spark_environment()

    def step(self, cluster: Cluster, step: Step, on_end: Callable[[Run], None]) -> None:
        """Runs a step's jar; its logs are uploaded now and then while it runs."""
        jar = step.config["HadoopJarStep"]
        arguments = list(jar.get("Args", []))
        prepared = self._root / cluster.id / "steps" / step.id
        argv: list[str] | str
        if jar["Jar"].rpartition("/")[2] == "command-runner.jar":
            argv = arguments or "command-runner.jar needs arguments"
        elif jar["Jar"].rpartition("/")[2] == "script-runner.jar":
            argv = self._script(prepared, arguments) if arguments else "script-runner.jar needs the script's address"
        else:
            path = self._fetch(prepared, jar["Jar"])
            main_class = [jar["MainClass"]] if "MainClass" in jar else []
            argv = ["hadoop", "jar", str(path), *main_class, *arguments] if isinstance(path, Path) else path
        folder = f"steps/{step.id}"

        def upload() -> None:
            if step.ended is None:
                self.keep_logs(cluster, step_logs.collect(prepared, folder, ""))
                self._clock.after_aws(LOG_INTERVAL, upload)

        self._clock.after_aws(LOG_INTERVAL, upload)
        environment = {"EMR_STEP_ID": step.id, **self._settings(cluster, prepared / "scratch")}
        self._run(cluster, step.id, prepared, argv, on_end, folder=folder, environment=environment)

    def bootstrap(self, cluster: Cluster, number: int, on_end: Callable[[Run], None]) -> None:
        """Runs a bootstrap action's script."""
        action = cluster.request["BootstrapActions"][number]["ScriptBootstrapAction"]
        prepared = self._root / cluster.id / "bootstrap" / str(number + 1)
        argv = self._script(prepared, [action["Path"], *action.get("Args", [])])
        folder = f"node/{cluster.master}/bootstrap-actions/{number + 1}"
        self._run(cluster, f"{cluster.id}-bootstrap", prepared, argv, on_end, folder=folder, environment={})

    def end_bootstrap(self, cluster: Cluster) -> None:
        """Kills the bootstrap action that runs."""
        self._processes.signal(f"{cluster.id}-bootstrap", 9)

    def signal(self, step: Step, number: int) -> None:
        """Sends a signal to a step's processes."""
        self._processes.signal(step.id, number)

    def keep_logs(self, cluster: Cluster, logs: dict[str, bytes]) -> None:
        """Puts logs below the cluster's log folder."""
        step_logs.keep(self._upstream, cluster, logs)

    @staticmethod
    def failure(cluster: Cluster, step: Step, run: Run) -> dict[str, str]:
        """FailureDetails of a failed step."""
        details = {"Reason": "Unknown Error."}
        lines = run.stderr.splitlines()
        message = run.error or next((line for line in lines if line.startswith("Exception in thread")), None)
        if message:
            details["Message"] = message[:1024]
        if cluster.log_folder is not None:
            bucket, prefix = cluster.log_folder
            kind = "controller" if run.error else "stderr"
            details["LogFile"] = f"s3://{bucket}/{prefix}/steps/{step.id}/{kind}.gz"
        return details

    def _run(
        self,
        cluster: Cluster,
        name: str,
        prepared: Path,
        argv: list[str] | str,
        on_end: Callable[[Run], None],
        *,
        folder: str,
        environment: dict[str, str],
    ) -> None:
        """Runs a command; a text instead of one is why there is none."""
        prepared.mkdir(parents=True, exist_ok=True)
        home = self._root / cluster.id / "home"
        home.mkdir(exist_ok=True)
        begun = time.monotonic()
        if isinstance(argv, str):
            run = Run(None, argv, step_logs.collect(prepared, folder, f"{_stamp()} ERROR {argv}\n"))
            # Later, not from within the caller's own change of state.
            self._clock.after(0, lambda: on_end(run))
            return
        begin = f"{_stamp()} INFO startExec {argv!r}\n"

        def ended(end: Ended) -> None:
            if end.error is not None:
                result = f"ERROR Cannot run program: {end.error}"
            else:
                how = "INFO Step succeeded" if end.code == 0 else "WARN Step failed"
                result = f"{how} with exitCode {end.code} and took {time.monotonic() - begun:.0f} seconds"
            logs = step_logs.collect(prepared, folder, f"{begin}{_stamp()} {result}\n")
            stderr = logs.get(f"{folder}/stderr", b"").decode(errors="replace")
            on_end(Run(end.code, end.error, logs, stderr))

        base = {"HOME": str(home), "EMR_CLUSTER_ID": cluster.id, "EMR_HDFS": str(self._hdfs(cluster))}
        self._processes.start(
            Command(
                name,
                argv,
                {**base, "EMR_CONTAINER_LOGS": str(prepared / "containers"), **environment},
                self._root / "work",
                prepared / "stdout",
                prepared / "stderr",
                None,
                lambda _pid: None,
                ended,
            )
        )

    def _hdfs(self, cluster: Cluster) -> Path:
        return self._root / cluster.id / "hdfs"

    def _settings(self, cluster: Cluster, scratch: Path) -> dict[str, str]:
        """Configuration for Hadoop and Spark, with the buckets that there are now, and their temporary folder."""
        folder = self._root / cluster.id / "conf"
        scratch.mkdir(parents=True, exist_ok=True)
        write_settings(folder, self._gateway, self._upstream.buckets(), self._hdfs(cluster), SPARK_CORES)
        return {
            "HADOOP_CONF_DIR": str(folder),
            "SPARK_CONF_DIR": str(folder),
            "SPARK_LOCAL_DIRS": str(scratch),
            "SPARK_SUBMIT_OPTS": f"-Djava.io.tmpdir={scratch} -XX:-UsePerfData",
            **self._spark,
        }

    def _script(self, prepared: Path, words: list[str]) -> list[str] | str:
        """The command that runs a script of this machine or of S3; a text where it cannot be had."""
        address, *arguments = words
        path = self._fetch(prepared, address)
        if isinstance(path, str):
            return path
        return [str(path), *arguments] if _executable(path) else ["bash", str(path), *arguments]

    def _fetch(self, prepared: Path, address: str) -> Path | str:
        """A file of this machine or of S3; a text where it cannot be had."""
        parts = urlsplit(address)
        if parts.scheme in ("s3", "s3a", "s3n"):
            prepared.mkdir(parents=True, exist_ok=True)
            path = prepared / Path(parts.path).name
            try:
                path.write_bytes(self._upstream.get_object(parts.netloc, parts.path.lstrip("/")))
            except (UpstreamError, OSError) as error:
                return f"could not download {address}: {error}"
        else:
            path = Path(parts.path if parts.scheme == "file" else address)
            if not path.is_file():
                return f"could not find {address}"
        return path


def _executable(path: Path) -> bool:
    """Whether a script of this machine can be run as it is. One out of S3 has no mode: bash runs it, as on EMR."""
    return path.stat().st_mode & 0o100 != 0


def _stamp() -> str:
    return now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
