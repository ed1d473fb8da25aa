"""The local AWS, in a thread of this process."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_batchemr.local.batch.commands import Commands
from airflow_batchemr.local.batch.jobs import Jobs
from airflow_batchemr.local.batch.resources import Resources
from airflow_batchemr.local.batch.service import BatchService
from airflow_batchemr.local.clock import Clock
from airflow_batchemr.local.emr.clusters import Clusters
from airflow_batchemr.local.emr.runner import Runner
from airflow_batchemr.local.emr.service import EmrService
from airflow_batchemr.local.emr_containers.service import EmrContainersService
from airflow_batchemr.local.emr_serverless.service import EmrServerlessService
from airflow_batchemr.local.environment import job_environment
from airflow_batchemr.local.events import Events
from airflow_batchemr.local.faults import Faults
from airflow_batchemr.local.gate import Gate
from airflow_batchemr.local.job_runs.drivers import Drivers
from airflow_batchemr.local.logs import Logs
from airflow_batchemr.local.private_files import private_folder, root_folder
from airflow_batchemr.local.processes import Processes
from airflow_batchemr.local.protocol import Api, Call
from airflow_batchemr.local.upstream import Upstream
from airflow_batchemr.local.visibility import Visibility

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence
    from types import TracebackType

    from typing_extensions import Self
    from werkzeug.serving import BaseWSGIServer

__all__ = ["LocalAWS"]

REGION = "us-east-1"
HOST = "127.0.0.1"


class LocalAWS:
    """Batch and EMR that really run commands, in front of moto, on 127.0.0.1.

    It starts with a job queue `default`, its compute environment `local`, an EMR Serverless application `default` and a
    virtual cluster `default` of EMR on EKS.

    Args:
        root: Folder for the work and output of jobs, which becomes inaccessible to other users. Defaults to a temporary
            folder, which `stop` removes.
        port: Port; 0 selects a free one.
        slots: Maximum number of concurrent Batch jobs, EMR steps and job runs, each. Defaults to the number of cores.
        path: Folders to search first for commands.
        speed: Factor by which attempt timeouts and idle timeouts are shortened.
    """

    def __init__(
        self,
        root: Path | None = None,
        port: int = 0,
        slots: int | None = None,
        path: Sequence[Path | str] = (),
        speed: float = 1.0,
    ) -> None:
        self._given_root = root
        self._port = port
        self._slots = slots or os.cpu_count() or 2
        self._path = [str(Path(folder).resolve()) for folder in path]
        self._speed = speed
        self._access_key = "LKIA" + secrets.token_hex(8).upper()
        self._secret_key = secrets.token_urlsafe(30)
        #: boto3 sessions are expensive and not thread-safe, so a shared one reads the model of each service only once.
        self._session: Any = None
        self._session_lock = threading.Lock()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server.

        Raises:
            ImportError: Moto is not installed.
            OSError: The port is in use, or the root folder is not this user's own.
        """
        upstream = Upstream()
        from moto.moto_server import werkzeug_app
        from werkzeug.serving import WSGIRequestHandler, make_server

        moto_handler: type[WSGIRequestHandler] = getattr(werkzeug_app, "MotoRequestHandler", WSGIRequestHandler)
        quiet = type("Handler", (moto_handler,), {"log_request": lambda *_: None})
        # Bound here, because werkzeug exits the process if the port is in use
        with socket.create_server((HOST, self._port)) as listener:
            self._server: BaseWSGIServer = make_server(
                HOST, self._port, self._serve, threaded=True, request_handler=quiet, fd=listener.fileno()
            )
        self._port = self._server.port
        self.root = self._given_root or Path(tempfile.mkdtemp(prefix="local-aws-"))
        root_folder(self.root)
        for name in ("bin", "output", "jobs", "emr", "job-runs"):
            private_folder(self.root / name)
        self._upstream = upstream
        self.clock = Clock(self._speed)
        base = job_environment(self.environment(), self._path, self.root)
        self._processes = Processes(base)
        self._logs = Logs(upstream, self.clock, self.root / "output")
        self._events = Events(upstream)
        self._jobs = Jobs(
            processes=self._processes,
            commands=Commands(upstream, self._logs, self.root),
            clock=self.clock,
            logs=self._logs,
            slots=self._slots,
            changed=self._events.job_changed,
        )
        self._resources = Resources(self._jobs)
        visibility = Visibility()
        batch = BatchService(self._jobs, self._resources, visibility)
        gateway = f"webhdfs://{HOST}:{self._port}/{self._access_key}"
        runner = Runner(self._processes, upstream, self.clock, self.root / "emr", gateway=gateway, path=base["PATH"])
        self.clusters = Clusters(self.clock, runner, self.root / "emr", self._slots)
        emr = EmrService(self.clusters, visibility)
        self._drivers = Drivers(
            self._processes, upstream, self.clock, root=self.root / "job-runs", gateway=gateway, slots=self._slots
        )
        self.emr_serverless = EmrServerlessService(self.clock, self._drivers, visibility)
        self.emr_containers = EmrContainersService(self.clock, self._drivers, visibility)
        self.faults = Faults(batch, self.clusters, self._drivers, visibility)
        self._gate = Gate(
            key=self._access_key,
            upstream=upstream,
            apis={
                "batch": Api("batch", batch.operations, "ClientException"),
                "elasticmapreduce": Api("emr", emr.operations, "ValidationException"),
                "emr-serverless": Api("emr-serverless", self.emr_serverless.operations, "ValidationException"),
                "emr-containers": Api("emr-containers", self.emr_containers.operations, "ValidationException"),
            },
            logs=self._logs,
            faults=self.faults,
            rules_made=self._events.want,
        )
        self._make_default_queue()
        self._make_default_places()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="local-aws", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Kill all running commands and their child processes, and remove the root folder unless it was given."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._processes.close()
        self.clock.close()
        self._events.close()
        self._logs.clear()
        if self._given_root is None:
            shutil.rmtree(self.root, ignore_errors=True)

    def _serve(self, environ: dict[str, Any], start_response: Any) -> Any:
        return self._gate(environ, start_response)

    def _make_default_queue(self) -> None:
        environment = {
            "computeEnvironmentName": "local",
            "type": "MANAGED",
            "computeResources": {"type": "EC2", "maxvCpus": 256, "subnets": [], "instanceTypes": ["optimal"]},
        }
        order = [{"order": 1, "computeEnvironment": "local"}]
        queue = {"jobQueueName": "default", "priority": 1, "computeEnvironmentOrder": order}
        self._resources.create_compute_environment(Call("CreateComputeEnvironment", environment, REGION))
        self._resources.create_job_queue(Call("CreateJobQueue", queue, REGION))

    def _make_default_places(self) -> None:
        application = {"name": "default", "releaseLabel": "emr-7.5.0", "type": "SPARK"}
        self.emr_serverless.add_application("default", application, REGION)
        provider = {"type": "EKS", "id": "local", "info": {"eksInfo": {"namespace": "default"}}}
        self.emr_containers.add_cluster("default", {"name": "default", "containerProvider": provider}, REGION)

    @property
    def endpoint_url(self) -> str:
        """URL of all services."""
        return f"http://{HOST}:{self._port}"

    def environment(self) -> dict[str, str]:
        """Return environment variables that make a process use this AWS instead of the real one."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self._access_key,
            "AWS_SECRET_ACCESS_KEY": self._secret_key,
            "AWS_DEFAULT_REGION": REGION,
        }

    def client(self, service: str, **options: Any) -> Any:
        """Return a boto3 client of this AWS, for example `client("batch")`."""
        import boto3

        with self._session_lock:
            if self._session is None:
                self._session = boto3.session.Session(self._access_key, self._secret_key, region_name=REGION)
            return self._session.client(service, endpoint_url=self.endpoint_url, **options)

    def requests(self) -> Counter[str]:
        """Return the calls by operation, including S3's (PutObject), since the start or the last `reset_requests`."""
        return self._gate.requests()

    def reset_requests(self) -> None:
        """Reset the counts to zero."""
        self._gate.reset_requests()

    def reset(self) -> None:
        """Reset to an empty account: kill running commands; delete jobs, clusters, buckets, logs, faults and counts."""
        self.clusters.clear()
        self._drivers.clear()
        self.emr_serverless.clear()
        self.emr_containers.clear()
        self._jobs.clear()
        self._resources.clear()
        self._logs.clear()
        self._events.clear()
        self.faults.clear()
        self.clock.speed = self._speed
        self._upstream.reset()
        self._make_default_queue()
        self._make_default_places()
        self.reset_requests()

    def write_ready_file(self, path: Path) -> None:
        """Write `environment()` as JSON to a new file, atomically, readable only by this user.

        Raises:
            FileExistsError: There is such a file or a symbolic link: someone else may have put it there.
        """
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                os.fchmod(descriptor, 0o600)
                json.dump({"pid": os.getpid(), "python": sys.executable, "environment": self.environment()}, file)
            os.link(temporary, path)  # unlike a rename, it does not replace an existing file
        except FileExistsError:
            raise FileExistsError(f"the ready file {path} exists: remove it, or choose another one") from None
        finally:
            temporary.unlink()
