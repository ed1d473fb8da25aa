"""Waiting for the logs of what has failed on EMR: they come to S3 some minutes after the end."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from airflow.triggers.base import TriggerEvent

from airflow_batchemr.aws.emr.failure_report import why
from airflow_batchemr.connections import shared_clients
from airflow_batchemr.triggers.base import LedgerTrigger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_batchemr.aws.clients import Clients

#: Seconds between two looks.
PAUSE = 15.0


class EmrLogsTrigger(LedgerTrigger):
    """Waits until the logs of some failed attempts are there, at most until `wake_at`; yields `told`."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event."""
        self.log.info("Waiting for the logs of what failed: EMR uploads them every five minutes and at the end")
        while self.wake_at is None or time.time() < self.wake_at:
            if await asyncio.to_thread(self._there):
                break
            await asyncio.sleep(min(PAUSE, self.time_left() or PAUSE))
        yield TriggerEvent(self.payload(status="told"))  # type: ignore[no-untyped-call]

    def _there(self) -> bool:
        clients = shared_clients(self.aws_conn_id, self.region)
        ledger = self.job_ledger(clients)
        try:
            failed = {one.number: one.result for one in ledger.read().submissions if one.number in self.submissions}
            told = [why(clients, ledger, n, result, {}) for n, result in failed.items() if result is not None]
        except Exception as error:  # noqa: BLE001 - the wait is bounded; the next look may do
            self.log.warning("Could not look for logs: %s", error)
            return False
        return all(one.complete for one in told)

    def stop(self, clients: Clients, reason: str, by: str) -> tuple[()]:  # noqa: ARG002 - nothing to do
        """Nothing runs any more."""
        return ()
