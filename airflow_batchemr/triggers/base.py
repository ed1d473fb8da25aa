"""What the triggers share: whose work they wait for, deadlines, and telling a person's word from a hand-over."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger

from airflow_batchemr.aws.outage import FAILURES
from airflow_batchemr.aws.poller import shared_poller
from airflow_batchemr.connections import shared_clients
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.engine.waiters import cleared_since, has_left, leave
from airflow_batchemr.ledger import Ledger
from airflow_batchemr.triggers.stopping import Gathering, in_background, insist

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_batchemr.aws.batch.children import Parent
    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.ledger import JobLedger

#: States of a task that Airflow goes on with: after an event of ours, or after a clear.
GOES_ON = frozenset({"scheduled", "queued", "running", "up_for_retry"})
#: Seconds that the word of a wait's end may take: an event is not held back for it.
LEAVING = 10.0


class LedgerTrigger(BaseTrigger):
    """A wait for attempts in the ledger.

    Args:
        identity: `JobIdentity.values()` of the task's work.
        attempts: numbers of the attempts that are waited for.
        before: what the operator needs to know again after the wait: the attempts whose failures are forgiven.
        aws_conn_id: Airflow connection.
        region: AWS region; the connection's if None.
        deadline: seconds since the epoch after which the work is to be stopped; the trigger enforces it itself, since
            Airflow does not stop remote work on a trigger's timeout.
        wake_at: seconds since the epoch at which to go back to the operator although nothing has ended.
    """

    def __init__(
        self,
        *,
        identity: dict[str, Any],
        submissions: list[int],
        before: list[int] | None = None,
        aws_conn_id: str | None = "aws_default",
        region: str | None = None,
        deadline: float | None = None,
        wake_at: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.identity = identity
        self.submissions = submissions
        self.before = before
        self.aws_conn_id = aws_conn_id
        self.region = region
        self.deadline = deadline
        self.wake_at = wake_at

    def arguments(self) -> dict[str, Any]:
        """The arguments that make this trigger again, those of a subclass among them."""
        return {
            "identity": self.identity,
            "submissions": self.submissions,
            "before": self.before,
            "aws_conn_id": self.aws_conn_id,
            "region": self.region,
            "deadline": self.deadline,
            "wake_at": self.wake_at,
        }

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments."""
        return f"{type(self).__module__}.{type(self).__qualname__}", self.arguments()

    def clients(self) -> Clients:
        """The clients that the triggers of a connection share. Making and using them blocks: in a thread only."""
        return shared_clients(self.aws_conn_id, self.region)

    def job_ledger(self, clients: Clients) -> JobLedger:
        """The ledger of the job."""
        identity = JobIdentity.of(self.identity)
        return Ledger(clients.s3, identity.state).job(identity.dag_id, identity.run_key, identity.job)

    def payload(self, **more: Any) -> dict[str, Any]:
        """What the operator is told after the wait."""
        return {"submissions": self.submissions, "before": self.before, **more}

    def time_left(self) -> float | None:
        """Seconds until the deadline or the time to wake, whichever is first; None: there is neither."""
        ends = [end for end in (self.deadline, self.wake_at) if end is not None]
        return max(0.0, min(ends) - time.time()) if ends else None

    def past_deadline(self) -> bool:
        """Whether the deadline is over."""
        return self.deadline is not None and time.time() >= self.deadline

    async def leave(self) -> None:
        """Leave word, just before the event, that this wait is over by itself; see `on_kill`."""

        def put() -> None:
            leave(self.job_ledger(self.clients()), self._name())

        try:
            await asyncio.wait_for(asyncio.to_thread(put), LEAVING)
        except (*FAILURES, TimeoutError, asyncio.TimeoutError) as error:
            self.log.warning("No word was left in the ledger that the wait is over: %s", error)

    def _name(self) -> str:
        """Names this wait, in whichever triggerer it is."""
        return hashlib.sha256(json.dumps(self.arguments(), sort_keys=True).encode()).hexdigest()[:32]

    @abstractmethod
    def stop(self, clients: Clients, reason: str, by: str) -> Sequence[Parent]:
        """Stop the remote work of `attempts`: leave word in the ledger, then end it. Blocking.

        Returns:
            Batch attempts whose programs may have started jobs of their own, which are stopped next: those of many
            tasks at once.
        """

    async def on_kill(self) -> None:
        """Stop the remote work if a person has acted on the task.

        Airflow calls this on clear, mark failed and mark succeeded; but also where the trigger was handed to another
        triggerer, when the work must go on. Which of them it is:

        - The task instance has ended or is to begin anew: a person has acted.
        - Airflow goes on with it: after a clear, and then a person has acted; or the other triggerer, which had the
          trigger meanwhile, has fired it. That one has left word in the ledger just before. Has it left word, died
          before the event reached Airflow, and the task been cleared then, the next try stops the work (`cleared`).
        - It is deferred: either still on our try, then another triggerer has our trigger and nothing is stopped; or
          already on a later try, after a clear. The ledger tells: each try leaves a document at the attempts that it
          waits for, with its `max_tries`, and another one than ours is a person's word.

        The later try survives it: an attempt that ended by our word is no failure, its rest is claimed again.

        While AWS cannot be reached it is tried again, for hours: see `insist`.
        """
        gathering = shared_poller((self.aws_conn_id, self.region, "children"), lambda: Gathering(self.clients))
        await in_background(self._heed(gathering))

    async def _heed(self, gathering: Gathering) -> None:
        with gathering.coming():
            try:
                state = await asyncio.to_thread(self._task_state)
            except Exception as error:  # noqa: BLE001 - what cannot be told must not stop a day's work
                self.log.warning("Left the work running: the state of the task could not be read: %s", error)
                return
            parents = await insist(lambda: self._stop_unless_handed_over(state), self.clients, self.log)
        if parents:
            await gathering.stop(parents, self.log)

    def _stop_unless_handed_over(self, state: str | None) -> Sequence[Parent]:
        identity, ledger = JobIdentity.of(self.identity), self.job_ledger(self.clients())
        if state == "deferred" and not cleared_since(ledger, identity, self.submissions):
            self.log.info("The task is still deferred: the wait goes on elsewhere, the work is not stopped")
            return ()
        if state in GOES_ON and has_left(ledger, self._name()):
            self.log.info("The wait was over by itself: the task goes on, the work is not stopped")
            return ()
        reason = f"the task was {'cleared' if state not in {'failed', 'success'} else f'marked {state}'}"
        self.log.info("Stopping attempts %s: %s", self.submissions, reason)
        return self.stop(self.clients(), reason, by=f"try {identity.try_number}")

    def _task_state(self) -> str | None:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        identity = JobIdentity.of(self.identity)
        states = RuntimeTaskInstance.get_task_states(
            dag_id=identity.dag_id,
            task_ids=[identity.task_id],
            run_ids=[identity.run_id],
            map_index=identity.map_index,
        )
        name = identity.task_id if identity.map_index < 0 else f"{identity.task_id}_{identity.map_index}"
        state = states.get(identity.run_id, {}).get(name)
        return None if state is None else str(getattr(state, "value", state))
