"""Run the drivers of job runs as processes, and write their logs to S3."""

from __future__ import annotations

import gzip
import logging
import shutil
import signal
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_batchemr.local.private_files import private_folder
from airflow_batchemr.local.processes import Command, Ended, Processes
from airflow_batchemr.local.spark.settings import spark_environment, write_settings
from airflow_batchemr.local.upstream import Upstream, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from airflow_batchemr.local.clock import Clock

__all__ = ["Driver", "DriverEnd", "Drivers"]

log = logging.getLogger(__name__)

#: Seconds between uploads of the logs of a running driver on AWS.
LOG_INTERVAL = 300
#: Number of Spark threads; more do not help with small local data.
SPARK_CORES = 2


@dataclass(frozen=True)
class DriverEnd:
    """Outcome of a driver.

    Attributes:
        code: Exit code; 128 + n if signal n killed it. None if it did not start or its host was lost.
        error: Reason why it did not start.
        output: Its stderr, followed by its stdout, which contains the traceback of a Python program.
    """

    code: int | None
    error: str | None
    output: str


@dataclass(frozen=True)
class Driver:
    """A driver to run.

    Attributes:
        name: Id of the job run.
        argv: Command.
        environment: Variables added to the base environment.
        log_folder: `s3://…/` folder of its stdout.gz and stderr.gz; None: no logs are written.
        on_start: Called when its process has started.
        on_end: Called once when it has ended, unless it is stopped before its process was started.
    """

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    log_folder: str | None
    on_start: Callable[[], None]
    on_end: Callable[[DriverEnd], None]


class Drivers:
    """The drivers of both services. At most `slots` run at once; the others wait in FIFO order.

    Args:
        processes: Runs the commands.
        upstream: moto, for S3.
        clock: Delays uploads of logs, and kills after a grace period.
        root: Parent folder of the working folders.
        gateway: URL of S3 for Hadoop.
        slots: Maximum number of concurrent drivers.

    Attributes:
        log_delay: Seconds between the end of a driver and the arrival of its logs in S3.
    """

    def __init__(
        self, processes: Processes, upstream: Upstream, clock: Clock, *, root: Path, gateway: str, slots: int
    ) -> None:
        self.log_delay = 0.0
        self._processes = processes
        self._upstream = upstream
        self._clock = clock
        self._root = root
        self._gateway = gateway
        self._slots = slots
        self._spark = spark_environment()
        self._lock = threading.RLock()
        self._running: dict[str, Driver] = {}
        self._waiting: deque[Driver] = deque()

    def start(self, driver: Driver) -> None:
        """Start a driver, now or as soon as there is a slot."""
        with self._lock:
            self._waiting.append(driver)
            self._fill()

    def stop(self, name: str, grace: float) -> bool:
        """Stop a driver: SIGTERM to all its processes, SIGKILL after `grace` seconds.

        Returns:
            Whether its process has started, so that `on_end` will be called.
        """
        with self._lock:
            if name not in self._running:
                self._waiting = deque(each for each in self._waiting if each.name != name)
                return False
            self._processes.signal(name, signal.SIGTERM)
        self._clock.after(grace, lambda: self._processes.signal(name, signal.SIGKILL))
        return True

    def clear(self) -> None:
        """Kill all drivers. No more callbacks are called."""
        with self._lock:
            self._waiting.clear()
            for name in self._running:
                self._processes.signal(name, signal.SIGKILL)
            self._running.clear()
            self.log_delay = 0.0

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self._slots:
            self._launch(self._waiting.popleft())

    def _launch(self, driver: Driver) -> None:
        folder = self._root / driver.name
        self._running[driver.name] = driver
        self._clock.after_aws(LOG_INTERVAL, lambda: self._upload(driver))
        self._processes.start(
            Command(
                driver.name,
                driver.argv,
                {**self._settings(folder), **driver.environment},
                # Not in the driver's folder, because an empty working folder is kept for the next command.
                self._root / "work",
                folder / "stdout",
                folder / "stderr",
                None,
                lambda _pid: self._started(driver),
                lambda end: self._ended(driver, end),
            )
        )

    def _settings(self, folder: Path) -> dict[str, str]:
        """Write the configuration of Hadoop and Spark for the current buckets."""
        conf, scratch = folder / "conf", folder / "scratch"
        private_folder(scratch)
        write_settings(conf, self._gateway, self._upstream.buckets(), folder / "hdfs", SPARK_CORES)
        return {
            "HADOOP_CONF_DIR": str(conf),
            "SPARK_CONF_DIR": str(conf),
            "SPARK_LOCAL_DIRS": str(scratch),
            "SPARK_SUBMIT_OPTS": f"-Djava.io.tmpdir={scratch} -XX:-UsePerfData",
            **self._spark,
        }

    def _started(self, driver: Driver) -> None:
        if self._is_running(driver):
            driver.on_start()

    def _ended(self, driver: Driver, end: Ended) -> None:
        known = self._is_running(driver)
        logs = self._read(driver)
        if known:
            if self.log_delay:
                self._clock.after(self.log_delay, lambda: self._put(driver, logs))
            else:
                self._put(driver, logs)
        shutil.rmtree(self._root / driver.name, ignore_errors=True)
        with self._lock:
            if self._running.get(driver.name) is driver:
                del self._running[driver.name]
            self._fill()
        if known:
            output = b"\n".join(logs.get(kind, b"") for kind in ("stderr", "stdout"))
            driver.on_end(DriverEnd(end.code, end.error, output.decode(errors="replace")))

    def _is_running(self, driver: Driver) -> bool:
        with self._lock:
            return self._running.get(driver.name) is driver

    def _upload(self, driver: Driver) -> None:
        if self._is_running(driver):
            self._put(driver, self._read(driver))
            self._clock.after_aws(LOG_INTERVAL, lambda: self._upload(driver))

    def _read(self, driver: Driver) -> dict[str, bytes]:
        logs = {}
        for kind in ("stdout", "stderr"):
            with suppress(OSError):
                logs[kind] = (self._root / driver.name / kind).read_bytes()
        return logs

    def _put(self, driver: Driver, logs: Mapping[str, bytes]) -> None:
        if driver.log_folder is None:
            return
        bucket, _, prefix = driver.log_folder.partition("://")[2].partition("/")
        for kind, content in logs.items():
            try:
                self._upstream.put_object(bucket, f"{prefix}{kind}.gz", gzip.compress(content, mtime=0))
            except UpstreamError as error:
                log.warning("the logs of %s could not be written to %s: %s", driver.name, driver.log_folder, error)
                return
