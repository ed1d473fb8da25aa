"""Runs steps and bootstrap actions."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airflow_batchemr.local.emr import node_python, step_logs
from airflow_batchemr.local.emr.state import Cluster, Step
from airflow_batchemr.local.private_files import private_folder, write_private
from airflow_batchemr.local.processes import Command, Ended, Processes
from airflow_batchemr.local.spark.settings import spark_environment, write_settings
from airflow_batchemr.local.upstream import Upstream, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_batchemr.local.clock import Clock
    from airflow_batchemr.local.emr.state import Cluster, Step

__all__ = ["Run", "Runner"]

#: Seconds between uploads of the logs of a running step on AWS.
LOG_INTERVAL = 300
#: File names of Hadoop's streaming jar, on a node or in S3.
STREAMING_JAR = re.compile(r"hadoop-streaming[\w.-]*\.jar")
#: Script in AWS's bucket that enables debugging; `state-pusher-script` in later releases.
STATE_PUSHER = "/libs/state-pusher/0.1/fetch"
#: Number of Spark threads; more do not help with small local data.
SPARK_CORES = 2


@dataclass(frozen=True)
class Run:
    """Outcome of a command.

    Attributes:
        code: Exit code; None if it did not start.
        error: Reason why it did not start.
        logs: Log contents by path relative to the cluster's log folder.
        stderr: Its output to stderr.
    """

    code: int | None
    error: str | None
    logs: dict[str, bytes]
    stderr: str = ""


class Runner:
    """Runs commands with one home folder per cluster and one working folder per command.

    Args:
        processes: Runs the commands.
        upstream: moto, for S3.
        clock: Triggers periodic uploads of logs.
        root: Parent folder of the clusters' folders.
        gateway: URL of S3 for Hadoop.
        path: PATH of all commands.
    """

    def __init__(
        self, processes: Processes, upstream: Upstream, clock: Clock, root: Path, *, gateway: str, path: str
    ) -> None:
        self._processes = processes
        self._upstream = upstream
        self._clock = clock
        self._root = root
        self._gateway = gateway
        self._path = path
        self._spark = spark_environment()

    def step(self, cluster: Cluster, step: Step, on_end: Callable[[Run], None]) -> None:
        """Run the jar of a step. Its logs are uploaded periodically while it runs."""
        jar = step.config["HadoopJarStep"]
        arguments = list(jar.get("Args", []))
        prepared = self._root / cluster.id / "steps" / step.id
        argv: list[str] | str
        if jar["Jar"].rpartition("/")[2] == "command-runner.jar":
            argv = arguments or "command-runner.jar needs arguments"
        elif jar["Jar"].rpartition("/")[2] == "script-runner.jar":
            argv = self._script(prepared, arguments) if arguments else "script-runner.jar needs the URI of a script"
        elif STREAMING_JAR.fullmatch(jar["Jar"].rpartition("/")[2]):
            argv = ["hadoop-streaming", *arguments]
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
        """Run the script of a bootstrap action."""
        action = cluster.request["BootstrapActions"][number]["ScriptBootstrapAction"]
        prepared = self._root / cluster.id / "bootstrap" / str(number + 1)
        argv = self._script(prepared, [action["Path"], *action.get("Args", [])])
        folder = f"node/{cluster.master}/bootstrap-actions/{number + 1}"
        self._run(cluster, f"{cluster.id}-bootstrap", prepared, argv, on_end, folder=folder, environment={})

    def end_bootstrap(self, cluster: Cluster) -> None:
        """Kill the running bootstrap action."""
        self._processes.signal(f"{cluster.id}-bootstrap", 9)

    def signal(self, step: Step, number: int) -> None:
        """Send a signal to the processes of a step."""
        self._processes.signal(step.id, number)

    def keep_logs(self, cluster: Cluster, logs: dict[str, bytes]) -> None:
        """Write logs below the cluster's log folder."""
        step_logs.keep(self._upstream, cluster, logs)

    @staticmethod
    def failure(cluster: Cluster, step: Step, run: Run) -> dict[str, str]:
        """Return the FailureDetails of a failed step."""
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
        """Run a command. If `argv` is a string, it is the reason why the command cannot run."""
        private_folder(prepared)
        home = private_folder(self._root / cluster.id / "home")
        begun = time.monotonic()
        if isinstance(argv, str):
            run = Run(None, argv, step_logs.collect(prepared, folder, f"{step_logs.stamp()} ERROR {argv}\n"))
            # Called later, because the caller is still changing its state.
            self._clock.after(0, lambda: on_end(run))
            return
        begin = step_logs.started(name, argv)

        def ended(end: Ended) -> None:
            result = step_logs.ended(argv, end, time.monotonic() - begun)
            logs = step_logs.collect(prepared, folder, f"{begin}{result}")
            stderr = logs.get(f"{folder}/stderr", b"").decode(errors="replace")
            on_end(Run(end.code, end.error, logs, stderr))

        python = self._root / cluster.id / "python"
        if not python.exists():
            node_python.create(python)
        base = {
            "PATH": node_python.path_with(python, self._path),
            "PYSPARK_PYTHON": str(python / "bin" / "python3"),
            "HOME": str(home),
            "EMR_CLUSTER_ID": cluster.id,
            "EMR_HDFS": str(self._hdfs(cluster)),
            "EMR_CONTAINER_LOGS": str(prepared / "containers"),
            "EMR_SYSLOG": str(prepared / "syslog"),
            "EMR_JOB_HISTORY": str(prepared / "hadoop-mapreduce" / "history"),
        }
        self._processes.start(
            Command(
                name,
                argv,
                {**environment, **base},
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
        """Write the configuration of Hadoop and Spark for the current buckets, and return their environment."""
        folder = self._root / cluster.id / "conf"
        private_folder(scratch)
        write_settings(folder, self._gateway, self._upstream.buckets(), self._hdfs(cluster), SPARK_CORES)
        return {
            "HADOOP_CONF_DIR": str(folder),
            "SPARK_CONF_DIR": str(folder),
            "SPARK_LOCAL_DIRS": str(scratch),
            "SPARK_SUBMIT_OPTS": f"-Djava.io.tmpdir={scratch} -XX:-UsePerfData",
            **self._spark,
        }

    def _script(self, prepared: Path, script: list[str]) -> list[str] | str:
        """Return the command that runs a local script or one in S3; an error message if it is missing."""
        address, *arguments = script
        if address.endswith(STATE_PUSHER):
            return ["state-pusher-script"]
        path = self._fetch(prepared, address)
        if isinstance(path, str):
            return path
        return [str(path), *arguments] if _executable(path) else ["bash", str(path), *arguments]

    def _fetch(self, prepared: Path, address: str) -> Path | str:
        """Return the path of a local file or a download from S3; an error message if it is missing."""
        parts = urlsplit(address)
        if parts.scheme in ("s3", "s3a", "s3n"):
            path = private_folder(prepared) / Path(parts.path).name
            try:
                write_private(path, self._upstream.get_object(parts.netloc, parts.path.lstrip("/")))
            except (UpstreamError, OSError) as error:
                return f"cannot download {address}: {error}"
        else:
            path = Path(parts.path if parts.scheme == "file" else address)
            if not path.is_file():
                return f"cannot find {address}"
        return path


def _executable(path: Path) -> bool:
    """Return whether a local script is executable. Scripts from S3 have no mode, so bash runs them, as on EMR."""
    return path.stat().st_mode & 0o100 != 0
