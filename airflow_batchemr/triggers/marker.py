"""Trigger that waits for markers. All markers share one poll loop."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_batchemr import settings
from airflow_batchemr.aws.errors import AwsError, Expired, NotAllowed, Unknown, classify
from airflow_batchemr.aws.poller import Poller, shared_poller
from airflow_batchemr.connections import connection_clients
from airflow_batchemr.ledger import CredentialsError, LedgerError, NotAllowedError
from airflow_batchemr.task_log import CleanLog
from airflow_batchemr.triggers.hold import hold_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from airflow_batchemr.aws.clients import Clients


class S3MarkerTrigger(CleanLog, BaseTrigger):
    """Waits until a job has succeeded for a run key.

    Args:
        state: State URI.
        dag_id: Dag id of the pipeline.
        run_key: Run key.
        job: Job name.
        aws_conn_id: Airflow connection.
        region: AWS region.
        deadline: Time to give up, in seconds since the epoch; None means never.
        deferred_at: Time at which the task was deferred, in seconds since the epoch; see `hold_event`.
    """

    def __init__(
        self,
        *,
        state: str,
        dag_id: str,
        run_key: str,
        job: str,
        aws_conn_id: str | None = "aws_default",
        region: str | None = None,
        deadline: float | None = None,
        deferred_at: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.state = state
        self.dag_id = dag_id
        self.run_key = run_key
        self.job = job
        self.aws_conn_id = aws_conn_id
        self.region = region
        self.deadline = deadline
        self.deferred_at = deferred_at

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "state": self.state,
            "dag_id": self.dag_id,
            "run_key": self.run_key,
            "job": self.job,
            "aws_conn_id": self.aws_conn_id,
            "region": self.region,
            "deadline": self.deadline,
            "deferred_at": self.deferred_at,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: `marked`, `timeout` or `denied`."""
        payload = await self._wait()
        await hold_event(self, self.deferred_at)
        yield TriggerEvent(payload)  # type: ignore[no-untyped-call]

    async def _wait(self) -> dict[str, Any]:
        conn, region = self.aws_conn_id, self.region
        poller = shared_poller((conn, region, "markers"), lambda: markers_poller(connection_clients(conn, region)))
        id_ = json.dumps((self.state, self.dag_id, self.run_key, self.job))
        denied_since: float | None = None
        try:
            async with aclosing(poller.watch([id_], self.log.warning)) as polls:
                while True:
                    left = None if self.deadline is None else max(0.0, self.deadline - time.time())
                    seen = await asyncio.wait_for(anext(polls), left)
                    value = seen[id_].value
                    if isinstance(value, str):
                        return {"status": "marked", "marker": value}
                    if value is None:
                        denied_since = None
                        continue
                    if denied_since is None:
                        denied_since = time.monotonic()
                        self.log.warning("%s", value)
                    may_recover = isinstance(value, NotAllowedError | CredentialsError)
                    if not may_recover or time.monotonic() - denied_since >= settings.engine_policy().refusal_limit:
                        return {"status": "denied", "message": str(value)}
        except (TimeoutError, asyncio.TimeoutError):
            return {"status": "timeout"}
        except AwsError as error:
            return {"status": "denied", "message": str(error)}


def markers_poller(clients: Clients) -> Poller[str | LedgerError]:
    """Return a poll loop over markers: one GET per poll, and a LIST to check that an existing marker is still valid.

    An error of one marker's location affects only the waits for that marker.
    """

    def describe(ids: Sequence[str]) -> dict[str, str | LedgerError]:
        found: dict[str, str | LedgerError] = {}
        missed: list[AwsError] = []
        for id_ in ids:
            state, dag_id, run_key, job = json.loads(id_)
            try:
                ledger = clients.ledger(state).job(dag_id, run_key, job)
                if ledger.marker() is not None and ledger.read().marker is not None:
                    found[id_] = ledger.marker_uri
            except LedgerError as error:
                meaning = classify(error.__cause__ if isinstance(error.__cause__, Exception) else error)
                if isinstance(meaning, Expired | NotAllowed):  # a rotated access key is denied as well
                    clients.renew()
                if error.retryable or isinstance(meaning, Expired):
                    missed.append(meaning if meaning.transient else Unknown(str(error)))
                else:
                    found[id_] = error
        if len(missed) == len(ids):
            raise missed[0]
        return found

    policy = settings.engine_policy()
    return Poller(
        describe,
        chunk=20,
        shortest=policy.marker_poll_shortest,
        longest=policy.marker_poll_longest,
        patience=policy.refusal_limit,
    )
