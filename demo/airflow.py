"""A real `airflow standalone` on free ports, and its REST API."""

from __future__ import annotations

import json
import secrets
import socket
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from demo.processes import BIN, Program, clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from demo.aws import LocalAws

#: Setting: a Dag that is unpaused waits to be triggered or backfilled, instead of running for today at once.
NO_SCHEDULES = {"AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False"}
FINISHED = frozenset({"success", "failed"})
#: Seconds that something may take on a machine that has much else to do; what is well takes a fraction.
PATIENCE = 300.0
#: How often a backfill is asked for: SQLite refuses a transaction that began to read before another one wrote, at once,
#: whatever its timeout is.
LOCKED = 4
_Found = TypeVar("_Found")
_COMPONENTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")


class AirflowError(Exception):
    """Airflow did not do what was asked; the text says what it said."""


class Airflow:
    """An `airflow standalone` whose home, database and logs are in one folder of ours.

    Args:
        home: its AIRFLOW_HOME; made if it is not there.
        dags: the folder with the Dag files.
        aws: the local AWS that the connection `aws_default` points to.
        settings: more AIRFLOW__SECTION__KEY settings.
        listen: host and port of its pages and REST API; a free port of the loopback if not given.
    """

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
        self.host, self.port = listen or ("127.0.0.1", port)
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **clean_environment(),
            **_settings(home, dags, host=self.host, port=self.port, worker_logs=worker_logs, trigger_logs=trigger_logs),
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
        """Start it, without waiting."""
        self.standalone = self.program("standalone")

    def wait_until_healthy(self, timeout: float = PATIENCE) -> None:
        """Wait until all of its components are.

        Raises:
            AirflowError: it has ended, or is not healthy in time.
        """
        self.wait(self._healthy, "Airflow to be healthy", timeout=timeout, every=0.5)
        token = self._client.get("/auth/token").json()["access_token"]
        self._client.headers["Authorization"] = f"Bearer {token}"

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself."""
        return self.standalone is not None and self.standalone.ended

    def program(self, *arguments: str) -> Program:
        """Start an `airflow …` of this home, such as a second triggerer; `stop` ends it too."""
        command = [str(BIN / "airflow"), *arguments]
        log = self.home / f"{arguments[0]}.log"
        # Nothing in this home has to outlive a stop: what is not gone in 3 s (the triggerer takes 12) is ended.
        program = Program(command, environment=self.environment, log=log, grace=3.0)
        self._programs.append(program)
        return program

    def run_command(self, *arguments: str) -> None:
        """Run `airflow …` to its end.

        Raises:
            AirflowError: its exit code is not 0; with the end of what it printed.
        """
        program = self.program(*arguments)
        if code := program.wait():
            raise AirflowError(f"airflow {' '.join(arguments)} ended with {code}:\n{program.last_words(40)}")

    def backfill(self, dag_id: str, *options: str, timeout: float = PATIENCE) -> None:
        """`airflow backfill create` with these options, and wait until its runs have ended.

        The one before has to be closed first; Airflow looks for that every 30 s only. Where SQLite has been written to
        meanwhile, Airflow takes the new one back and leaves it to the caller to ask again.
        """

        def closed() -> bool:
            backfills = self.call("GET", "backfills", params={"dag_id": dag_id})["backfills"]
            return all(backfill["completed_at"] for backfill in backfills)

        for left in reversed(range(LOCKED)):
            self.wait(closed, f"the end of the backfill of {dag_id} before", timeout=timeout)
            try:
                self.run_command("backfill", "create", "--dag-id", dag_id, *options)
            except AirflowError as error:
                if "database is locked" not in str(error) or not left:
                    raise
            else:
                break
        self.wait(
            lambda: all(run["state"] in FINISHED for run in self.runs(dag_id)),
            f"the runs of the backfill of {dag_id}",
            timeout=timeout,
        )

    def stop(self) -> None:
        """End it and all of its processes."""
        with ExitStack() as stack:
            stack.callback(self._client.close)
            for program in self._programs:
                stack.callback(program.stop)

    # The REST API. Dag, run and task ids are as Airflow shows them.

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Call the REST API and give its answer.

        Args:
            method: the HTTP method.
            path: below /api/v2/.
            options: httpx's, such as json= and params=.

        Raises:
            AirflowError: any status but 2xx.
        """
        answer = self._client.request(method, f"/api/v2/{path}", **options)
        if answer.is_error:
            raise AirflowError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    def wait_for_dags(self, dag_ids: Iterable[str], timeout: float = PATIENCE) -> None:
        """Wait until Airflow has read these Dags; errors of other files are let be.

        Raises:
            AirflowError: not in time; with the import errors.
        """
        wanted = set(dag_ids)

        def known() -> bool:
            return wanted <= {dag["dag_id"] for dag in self.call("GET", "dags", params={"limit": 100})["dags"]}

        try:
            self.wait(known, f"the Dags {', '.join(sorted(wanted))}", timeout=timeout, every=0.5)
        except AirflowError as error:
            raise AirflowError(f"{error}\n" + "\n".join(e["stack_trace"] for e in self.import_errors())) from None

    def import_errors(self) -> list[dict[str, Any]]:
        """The Dag files that Airflow could not import: `filename`, `stack_trace`."""
        return list(self.call("GET", "importErrors", params={"limit": 100})["import_errors"])

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler run this Dag."""
        self.call("PATCH", f"dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, logical_date: str | None = None, conf: Mapping[str, Any] | None = None) -> str:
        """Start a run of an unpaused Dag and give its run_id."""
        body = {"logical_date": logical_date, "conf": dict(conf or {})}
        return str(self.call("POST", f"dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """One run: `state`, `start_date`, `end_date`, `logical_date`, …."""
        return dict(self.call("GET", f"dags/{dag_id}/dagRuns/{run_id}"))

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """All runs of a Dag, as `run` gives them."""
        return list(self.call("GET", f"dags/{dag_id}/dagRuns", params={"limit": 100})["dag_runs"])

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """The task instances of a run by task_id: `state`, `try_number`, `start_date`, …."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        return {task["task_id"]: task for task in self.call("GET", path, params={"limit": 100})["task_instances"]}

    def wait_for_run(self, dag_id: str, run_id: str, timeout: float = PATIENCE) -> str:
        """Wait until a run has ended and give its state."""

        def ended() -> str | None:
            state = self.run(dag_id, run_id)["state"]
            return state if state in FINISHED else None

        return self.wait(ended, f"the run {run_id} of {dag_id}", timeout=timeout)

    def wait_for_task(
        self, dag_id: str, run_id: str, task_id: str, *states: str, try_number: int = 1, timeout: float = PATIENCE
    ) -> dict[str, Any]:
        """Wait until a task is in one of the states, on this try or a later one.

        Raises:
            AirflowError: not in time, or the task has ended otherwise; with its log.
        """

        def there() -> dict[str, Any] | None:
            task = self.tasks(dag_id, run_id).get(task_id, {})
            if task.get("state") in states and task["try_number"] >= try_number:
                return task
            if task.get("state") in FINISHED and task["try_number"] >= try_number:
                log = self.log(dag_id, run_id, task_id, task["try_number"])
                raise AirflowError(f"{dag_id}.{task_id} has ended as {task['state']}:\n{log}")
            return None

        return self.wait(there, f"{dag_id}.{task_id} to be {' or '.join(states)}", timeout=timeout, every=0.3)

    def clear(self, dag_id: str, run_id: str, *task_ids: str) -> None:
        """Clear tasks of a run, as a person does, with what is downstream of them."""
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
        """Mark a task as `failed` or `success`, as a person does."""
        self.call("PATCH", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}", json={"new_state": state})

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> str:
        """What a try of a task logged, one line an event."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        content = self.call("GET", path, params={"full_content": True}, headers={"Accept": "application/json"})[
            "content"
        ]
        return "\n".join(line if isinstance(line, str) else _log_line(line) for line in content)

    def wait(
        self,
        look: Callable[[], _Found | None],
        what: str,
        *,
        timeout: float = PATIENCE,
        every: float = 0.5,
    ) -> _Found:
        """Look until there is something, and give it.

        Raises:
            AirflowError: `what` did not come in time, or Airflow has ended; with the end of its log.
        """
        until = time.monotonic() + timeout
        while not (found := look()):
            if self.standalone is not None and self.ended:
                raise AirflowError(f"Airflow has ended by itself:\n{self.standalone.last_words()}")
            if time.monotonic() > until:
                raise AirflowError(f"waited {timeout:.0f} s in vain for {what}; Airflow's logs are in {self.home}")
            time.sleep(every)
        return found

    def _healthy(self) -> bool:
        try:
            health = self._client.get("/api/v2/monitor/health").json()
        except (httpx.TransportError, ValueError):
            return False
        return all(health[name]["status"] == "healthy" for name in _COMPONENTS)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _settings(home: Path, dags: Path, *, host: str, port: int, worker_logs: int, trigger_logs: int) -> dict[str, str]:
    """Airflow's settings for one person on one small machine; the rest are its defaults."""
    return {
        "AIRFLOW_HOME": str(home),
        # SQLite has one writer at a time; on a busy machine the others wait longer for it than the default of 5 s
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=60",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "4",  # tasks wait in the triggerer; a slot is needed only to start and to end
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",  # on the loopback, as a rule
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__API__HOST": host,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(16),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_logs),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_logs),
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",  # a task's end is at times noticed by its next heartbeat only
    }


def _log_line(event: Mapping[str, Any]) -> str:
    """An event of a task's log as text, with the traceback if it is an exception."""
    errors = [f"{error['exc_type']}: {error['exc_value']}" for error in event.get("error_detail") or ()]
    return "\n".join([str(event.get("event", "")), *errors])
