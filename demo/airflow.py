"""A real `airflow standalone` on free ports, with its REST API."""

from __future__ import annotations

import json
import secrets
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from airflow_batchemr.local.private_files import private_folder, write_private
from demo.addresses import Address
from demo.processes import BIN, Program, clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from demo.aws import LocalAws

#: Turn off schedules: an unpaused Dag runs only if triggered or backfilled, and not for the current date.
NO_SCHEDULES = {"AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False"}
FINISHED = frozenset({"success", "failed"})
#: File in Airflow's home with the passwords of its users.
PASSWORDS = "passwords.json"
#: Maximum seconds for any wait, chosen for a busy machine; normal waits take a fraction of it.
PATIENCE = 300.0
#: Tries of creating a backfill. SQLite rejects a transaction that started reading before another one wrote, immediately
#: and regardless of its timeout.
BACKFILL_TRIES = 4
_Found = TypeVar("_Found")
_COMPONENTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")


class AirflowError(Exception):
    """A request to Airflow failed or timed out. The message contains Airflow's response or log."""


class Airflow:
    """An `airflow standalone` with its home, database and logs in one folder.

    Args:
        home: AIRFLOW_HOME; created if it does not exist.
        dags: Folder with the Dag files.
        aws: Local AWS for the connection `aws_default`.
        settings: Additional AIRFLOW__SECTION__KEY settings.
        listen: Host and port of the UI and REST API. Defaults to a free port on 127.0.0.1. If other machines can reach
            it, users need `password`; else everybody on this machine is an admin.
    """

    #: The name of the user with `password`.
    user = "admin"

    def __init__(
        self,
        home: Path,
        dags: Path,
        aws: LocalAws,
        settings: Mapping[str, str] | None = None,
        listen: tuple[str, int] | None = None,
    ) -> None:
        self.home = home
        port, worker_logs, trigger_logs = free_ports(3)
        self.address = Address(*(listen or ("127.0.0.1", port)))
        self.url = self.address.url
        self.password = None if self.address.loopback else secrets.token_urlsafe(16)
        self.environment = {
            **clean_environment(),
            **_settings(home, dags, self.address, worker_logs=worker_logs, trigger_logs=trigger_logs),
            **_access(home, self.address, all_admins=self.password is None),
            "AIRFLOW__BATCHEMR__STATE": aws.state,
            "AIRFLOW__BATCHEMR__MIN_DEFERRAL": "5",  # the jobs of the examples last seconds
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(
                {
                    "conn_type": "aws",
                    "login": aws.environment["AWS_ACCESS_KEY_ID"],
                    "password": aws.environment["AWS_SECRET_ACCESS_KEY"],
                    "extra": {"endpoint_url": aws.endpoint_url, "region_name": aws.environment["AWS_DEFAULT_REGION"]},
                }
            ),
            **(settings or {}),
        }
        self.standalone: Program | None = None
        self._programs: list[Program] = []
        self._client = httpx.Client(base_url=self.url, timeout=60, trust_env=False)

    def launch(self) -> None:
        """Start Airflow without waiting."""
        private_folder(self.home)  # keys and logs
        if self.password is not None:
            write_private(self.home / PASSWORDS, json.dumps({self.user: self.password}))
        self.standalone = self.program("standalone")

    def wait_until_healthy(self, timeout: float = PATIENCE) -> None:
        """Wait until all components are healthy.

        Raises:
            AirflowError: Airflow exited, is not healthy within `timeout` seconds, or accepts other host names.
        """
        self.wait(self._healthy, "Airflow to be healthy", timeout=timeout, every=0.5)
        if self._client.get("/api/v2/monitor/health", headers={"Host": "rebound.invalid"}).status_code != 400:
            raise AirflowError(f"Airflow does not check the Host header: its log in {self.home} shows why")
        if self.password is None:
            answer = self._client.get("/auth/token")
        else:
            answer = self._client.post("/auth/token", json={"username": self.user, "password": self.password})
        self._client.headers["Authorization"] = f"Bearer {answer.raise_for_status().json()['access_token']}"

    @property
    def ended(self) -> bool:
        """Whether the process has exited."""
        return self.standalone is not None and self.standalone.ended

    def program(self, *arguments: str) -> Program:
        """Start another `airflow …` command, such as a second triggerer. `stop` stops it, too."""
        command = [str(BIN / "airflow"), *arguments]
        log = self.home / f"{arguments[0]}.log"
        # Nothing here needs a clean shutdown, so processes are killed after 3 s (the triggerer would take 12 s).
        program = Program(command, environment=self.environment, log=log, grace=3.0)
        self._programs.append(program)
        return program

    def run_command(self, *arguments: str) -> None:
        """Run an `airflow …` command to its end.

        Raises:
            AirflowError: Its exit code is not 0. Contains the end of its output.
        """
        program = self.program(*arguments)
        if code := program.wait():
            raise AirflowError(f"airflow {' '.join(arguments)} exited with {code}:\n{program.log_tail(40)}")

    def backfill(self, dag_id: str, *options: str, timeout: float = PATIENCE) -> None:
        """Run `airflow backfill create` with these options, and wait until its runs have ended.

        The previous backfill has to be completed first, which Airflow checks only every 30 s. If SQLite is locked,
        Airflow rolls back the new backfill, and the command is repeated.
        """

        def closed() -> bool:
            backfills = self.call("GET", "backfills", params={"dag_id": dag_id})["backfills"]
            return all(backfill["completed_at"] for backfill in backfills)

        for left in reversed(range(BACKFILL_TRIES)):
            self.wait(closed, f"the previous backfill of {dag_id} to complete", timeout=timeout)
            try:
                self.run_command("backfill", "create", "--dag-id", dag_id, *options)
            except AirflowError as error:
                if "database is locked" not in str(error) or not left:
                    raise
            else:
                break
        self.wait(
            lambda: all(run["state"] in FINISHED for run in self.runs(dag_id)),
            f"the runs of the backfill of {dag_id} to end",
            timeout=timeout,
        )

    def stop(self) -> None:
        """Stop Airflow and all of its processes."""
        with ExitStack() as stack:
            stack.callback(self._client.close)
            for program in self._programs:
                stack.callback(program.stop)

    # The REST API. Dag, run and task ids are as Airflow shows them.

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Call the REST API and return the response.

        Args:
            method: HTTP method.
            path: Path below /api/v2/.
            options: Options of httpx, such as json= and params=.

        Raises:
            AirflowError: The status is not 2xx.
        """
        answer = self._client.request(method, f"/api/v2/{path}", **options)
        if answer.is_error:
            raise AirflowError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    def wait_for_dags(self, dag_ids: Iterable[str], timeout: float = PATIENCE) -> None:
        """Wait until Airflow has loaded these Dags. Import errors of other files are ignored.

        Raises:
            AirflowError: The wait timed out. Contains the import errors.
        """
        wanted = set(dag_ids)

        def known() -> bool:
            return wanted <= {dag["dag_id"] for dag in self.call("GET", "dags", params={"limit": 100})["dags"]}

        try:
            self.wait(known, f"the Dags {', '.join(sorted(wanted))} to load", timeout=timeout, every=0.5)
        except AirflowError as error:
            raise AirflowError(f"{error}\n" + "\n".join(e["stack_trace"] for e in self.import_errors())) from None

    def import_errors(self) -> list[dict[str, Any]]:
        """Return the import errors, with `filename` and `stack_trace`."""
        return list(self.call("GET", "importErrors", params={"limit": 100})["import_errors"])

    def unpause(self, dag_id: str) -> None:
        """Unpause a Dag."""
        self.call("PATCH", f"dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, logical_date: str | None = None, conf: Mapping[str, Any] | None = None) -> str:
        """Trigger a run of an unpaused Dag and return its run_id."""
        body = {"logical_date": logical_date, "conf": dict(conf or {})}
        return str(self.call("POST", f"dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Return a run, with `state`, `start_date`, `end_date`, `logical_date` and more."""
        return dict(self.call("GET", f"dags/{dag_id}/dagRuns/{run_id}"))

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return all runs of a Dag, as returned by `run`."""
        return list(self.call("GET", f"dags/{dag_id}/dagRuns", params={"limit": 100})["dag_runs"])

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """Return the task instances of a run by task_id, with `state`, `try_number`, `start_date` and more."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        return {task["task_id"]: task for task in self.call("GET", path, params={"limit": 100})["task_instances"]}

    def wait_for_run(self, dag_id: str, run_id: str, timeout: float = PATIENCE) -> str:
        """Wait until a run has ended and return its state."""

        def ended() -> str | None:
            state = self.run(dag_id, run_id)["state"]
            return state if state in FINISHED else None

        return self.wait(ended, f"the run {run_id} of {dag_id} to end", timeout=timeout)

    def wait_for_task(
        self, dag_id: str, run_id: str, task_id: str, *states: str, try_number: int = 1, timeout: float = PATIENCE
    ) -> dict[str, Any]:
        """Wait until a task is in one of the states, in this try or a later one.

        Raises:
            AirflowError: The wait timed out, or the task ended in another state. Contains its log.
        """

        def reached() -> dict[str, Any] | None:
            task = self.tasks(dag_id, run_id).get(task_id, {})
            if task.get("state") in states and task["try_number"] >= try_number:
                return task
            if task.get("state") in FINISHED and task["try_number"] >= try_number:
                log = self.log(dag_id, run_id, task_id, task["try_number"])
                raise AirflowError(f"{dag_id}.{task_id} ended in state {task['state']}:\n{log}")
            return None

        return self.wait(reached, f"{dag_id}.{task_id} to be {' or '.join(states)}", timeout=timeout, every=0.3)

    def clear(self, dag_id: str, run_id: str, *task_ids: str) -> None:
        """Clear tasks of a run and their downstream tasks, as a user would."""
        body = {
            "dry_run": False,
            "only_failed": False,
            "dag_run_id": run_id,
            "task_ids": list(task_ids),
            "include_downstream": True,
            "reset_dag_runs": True,
        }
        self.call("POST", f"dags/{dag_id}/clearTaskInstances", json=body)

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Mark a task as `failed` or `success`, as a user would."""
        self.call("PATCH", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}", json={"new_state": state})

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> str:
        """Return the log of a try, one line per event."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        content = self.call("GET", path, params={"full_content": True}, headers={"Accept": "application/json"})[
            "content"
        ]
        return "\n".join(line if isinstance(line, str) else _log_line(line) for line in content)

    def wait(
        self,
        poll: Callable[[], _Found | None],
        what: str,
        *,
        timeout: float = PATIENCE,
        every: float = 0.5,
    ) -> _Found:
        """Poll until the result is true, and return it.

        Raises:
            AirflowError: The wait for `what` timed out, or Airflow exited. Contains the end of its log.
        """
        until = time.monotonic() + timeout
        while not (found := poll()):
            if self.standalone is not None and self.ended:
                raise AirflowError(f"Airflow exited:\n{self.standalone.log_tail()}")
            if time.monotonic() > until:
                raise AirflowError(
                    f"timed out after {timeout:.0f} s waiting for {what}; Airflow's logs are in {self.home}"
                )
            time.sleep(every)
        return found

    def _healthy(self) -> bool:
        try:
            health = self._client.get("/api/v2/monitor/health").json()
        except (httpx.TransportError, ValueError):
            return False
        return all(health[name]["status"] == "healthy" for name in _COMPONENTS)


def free_ports(count: int) -> list[int]:
    """Return free ports on 127.0.0.1."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _access(home: Path, address: Address, *, all_admins: bool) -> dict[str, str]:
    """Return settings for who can use Airflow, and under which addresses."""
    return {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": str(all_admins),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{Airflow.user}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / PASSWORDS),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(Path(__file__).with_name("plugins")),
        "DEMO_ADDRESSES": " ".join(address.accepted),  # see plugins/printed_addresses.py
    }


def _settings(home: Path, dags: Path, address: Address, *, worker_logs: int, trigger_logs: int) -> dict[str, str]:
    """Return settings for a single user on a small machine. All others keep their defaults."""
    return {
        "AIRFLOW_HOME": str(home),
        # SQLite has one writer at a time; on a busy machine, others wait longer than the default of 5 s
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=60",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "4",  # tasks wait in the triggerer and need a slot only to start and end
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address.url}/execution/",
        "AIRFLOW__API__HOST": address.host,
        "AIRFLOW__API__PORT": str(address.port),
        "AIRFLOW__API__BASE_URL": address.url,
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(16),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_logs),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_logs),
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",  # the end of a task may be noticed only at a heartbeat
    }


def _log_line(event: Mapping[str, Any]) -> str:
    """Format a log event as text, including the exceptions."""
    errors = [f"{error['exc_type']}: {error['exc_value']}" for error in event.get("error_detail") or ()]
    return "\n".join([str(event.get("event", "")), *errors])
