"""Common base of the triggers: awaited submissions, deadlines, and stops after user actions."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_batchemr.aws.emr.shared_cluster import up_document
from airflow_batchemr.aws.outage import FAILURES
from airflow_batchemr.aws.poller import shared_poller
from airflow_batchemr.aws.remote_work import AnyRemoteWork
from airflow_batchemr.connections import recorded_secrets, shared_clients
from airflow_batchemr.core.errors import AwsError
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.engine.submissions import terminate
from airflow_batchemr.engine.waiters import cleared_since, has_fired, record_fired
from airflow_batchemr.task_log import CleanLog
from airflow_batchemr.triggers.hold import hold_event
from airflow_batchemr.triggers.stopping import Gathering, in_background, insist
from airflow_batchemr.triggers.task_state import task_state

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.ledger import JobLedger, Submission

#: States of a task that Airflow resumes, either after this trigger's event or after a clear.
RESUMES = frozenset({"scheduled", "queued", "running", "up_for_retry"})
#: Maximum seconds for recording the end of a wait, which delays the event.
RECORDING = 10.0


class LedgerTrigger(CleanLog, BaseTrigger):
    """Waits for submissions in the ledger.

    Subclasses implement `wait`. When it returns, the trigger yields one event.

    Args:
        identity: `JobIdentity.values()` of the task's work.
        submissions: Numbers of the submissions that the task waits for.
        prior_submissions: `Outcome.prior_submissions`, which the operator needs again after the wait.
        aws_conn_id: Airflow connection.
        region: AWS region. Defaults to that of the connection.
        deadline: Time to stop the work, in seconds since the epoch. The trigger enforces it, because
            Airflow does not stop remote work on a trigger's timeout.
        wake_at: Time at which to return to the operator even if nothing has ended, in seconds since the epoch.
        deferred_at: Time at which the task was deferred, in seconds since the epoch; see `hold_event`.
    """

    def __init__(
        self,
        *,
        identity: dict[str, Any],
        submissions: list[int],
        prior_submissions: list[int] | None = None,
        aws_conn_id: str | None = "aws_default",
        region: str | None = None,
        deadline: float | None = None,
        wake_at: float | None = None,
        deferred_at: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.identity = identity
        self.submissions = submissions
        self.prior_submissions = prior_submissions
        self.aws_conn_id = aws_conn_id
        self.region = region
        self.deadline = deadline
        self.wake_at = wake_at
        self.deferred_at = deferred_at

    def arguments(self) -> dict[str, Any]:
        """Return the arguments that create this trigger again, including those of a subclass."""
        return {
            "identity": self.identity,
            "submissions": self.submissions,
            "prior_submissions": self.prior_submissions,
            "aws_conn_id": self.aws_conn_id,
            "region": self.region,
            "deadline": self.deadline,
            "wake_at": self.wake_at,
            "deferred_at": self.deferred_at,
        }

    @abstractmethod
    async def wait(self) -> dict[str, Any]:
        """Wait and return the payload of the event. An `AwsError` becomes an event with the status `denied`."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event."""
        try:
            payload = await self.wait()
        except AwsError as error:
            payload = self.payload(status="denied", message=str(error))
        await hold_event(self, self.deferred_at)
        await self.record_end()
        yield TriggerEvent(payload)  # type: ignore[no-untyped-call]

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments."""
        return f"{type(self).__module__}.{type(self).__qualname__}", self.arguments()

    def clients(self) -> Clients:
        """Return the clients shared by the triggers of a connection. Creating and using them blocks: use a thread."""
        return shared_clients(self.aws_conn_id, self.region)

    def job_ledger(self, clients: Clients) -> JobLedger:
        """The ledger of the job."""
        identity = JobIdentity(**self.identity)
        return clients.ledger(identity.state).job(identity.dag_id, identity.run_key, identity.job)

    def secrets(self) -> frozenset[str]:
        """Return the secret values in the requests of the submissions. Blocking."""
        return recorded_secrets(self.job_ledger(self.clients()), self.submissions)

    def payload(self, **more: Any) -> dict[str, Any]:
        """Return the payload of the event."""
        return {"submissions": self.submissions, "prior_submissions": self.prior_submissions, **more}

    def timed_out(self) -> dict[str, Any]:
        """Return the payload for a passed deadline or wake-up time, if nothing else has happened."""
        return self.payload(status="deadline" if self.past_deadline() else "wake")

    def time_left(self) -> float | None:
        """Return the seconds until the deadline or the time to wake, whichever is first; None if there is neither."""
        ends = [end for end in (self.deadline, self.wake_at) if end is not None]
        return max(0.0, min(ends) - time.time()) if ends else None

    def past_deadline(self) -> bool:
        """Return whether the deadline has passed."""
        return self.deadline is not None and time.time() >= self.deadline

    async def record_end(self) -> None:
        """Record, just before the event, that this wait has ended normally; see `on_kill`."""

        def put() -> None:
            record_fired(self.job_ledger(self.clients()), self._name())

        try:
            await asyncio.wait_for(asyncio.to_thread(put), RECORDING)
        except (*FAILURES, TimeoutError, asyncio.TimeoutError) as error:
            self.log.warning("Could not record in the ledger that the wait is over: %s", error)

    def _name(self) -> str:
        """Return the name of this wait, which is the same in every triggerer."""
        return hashlib.sha256(json.dumps(self.arguments(), sort_keys=True).encode()).hexdigest()[:32]

    def stop(self, clients: Clients, reason: str, by: str) -> Sequence[Any]:
        """Record stop requests for `submissions` in the ledger, then terminate their work. Blocking.

        Returns:
            The stopped Batch jobs whose programs may have started other jobs. Those are stopped next, for many tasks
            together.
        """
        ledger = self.job_ledger(clients)
        remote = AnyRemoteWork(clients, ledger, JobIdentity(**self.identity))
        wanted = self.wanted(ledger.read().submissions)
        parents, failure = terminate(ledger, remote, wanted, reason, by=by)
        if failure is not None:
            raise failure
        return parents

    def wanted(self, submissions: Sequence[Submission]) -> list[Submission]:
        """Return the open submissions of this wait."""
        return [one for one in submissions if one.open and one.number in self.submissions]

    async def on_kill(self) -> None:
        """Stop the remote work if a user has acted on the task.

        Airflow calls this on clear, mark failed and mark success, but also when the trigger was handed over to another
        triggerer and the work must continue. The state of the task instance distinguishes them:

        - It has ended or will start over: a user has acted. Or the other triggerer has fired the trigger, and the task
          has succeeded since: then its marker covers the work, or its cluster has been reported as up for other tasks.
        - Airflow resumes the task: either after a clear, so a user has acted; or because the other triggerer has fired
          the trigger in the meantime, which it has recorded just before. If that triggerer died before the event
          reached Airflow, and the task was cleared afterwards, the next try stops the work (`waiters.cleared`).
        - It is deferred: either still in the same try, then another triggerer has this trigger and nothing is stopped;
          or already in a later try, after a clear. The ledger shows which: each try records that it waits for a
          submission, with its `max_tries`, and a different `max_tries` means a clear.

        A later try is not affected: a stopped submission is not a failure, and its remaining units are claimed again.

        While AWS cannot be reached, this is repeated for hours; see `insist`.
        """
        gathering = shared_poller((self.aws_conn_id, self.region, "children"), lambda: Gathering(self.clients))
        await in_background(self._stop_if_wanted(gathering))

    async def _stop_if_wanted(self, gathering: Gathering) -> None:
        with gathering.coming():
            try:
                state = await asyncio.to_thread(self._task_state)
            except Exception as error:  # noqa: BLE001 - if in doubt, do not stop the work
                self.log.warning("Left the work running: the state of the task could not be read: %s", error)
                return
            parents = await insist(lambda: self._stop_unless_handed_over(state), self.clients, self.log)
        if parents:
            await gathering.stop(parents, self.log)

    def _stop_unless_handed_over(self, state: str | None) -> Sequence[Any]:
        identity, ledger = JobIdentity(**self.identity), self.job_ledger(self.clients())
        if state == "deferred" and not cleared_since(ledger, identity, self.submissions):
            self.log.info("The task is still deferred: another triggerer waits for it; leaving the remote jobs running")
            return ()
        if state in RESUMES and has_fired(ledger, self._name()):
            self.log.info("Trigger fired normally; leaving the remote jobs running")
            return ()
        if state == "success" and self._cluster_in_use(ledger):
            self.log.info("The task has succeeded; leaving its cluster to the other tasks of the run")
            return ()
        reason = f"the task was {'cleared' if state not in {'failed', 'success'} else f'marked {state}'}"
        self.log.info("Stopping submissions %s: %s", self.submissions, reason)
        return self.stop(self.clients(), reason, by=f"try {identity.try_number}")

    def _cluster_in_use(self, ledger: JobLedger) -> bool:
        """Return whether the setup task has reported the cluster that it waited for as up: it was not marked.

        Only a shared cluster stays open in the ledger after the success of its task; `read` leaves out what a marker
        covers.
        """
        handles = [one.handle for one in self.wanted(ledger.read().submissions)]
        ids = [handle.cluster_id for handle in handles if handle is not None and handle.cluster_id is not None]
        return any(ledger.get_document(up_document(cluster_id)) is not None for cluster_id in ids)

    def _task_state(self) -> str | None:
        return task_state(JobIdentity(**self.identity))
