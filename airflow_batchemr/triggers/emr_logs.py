"""Wait for the logs of failed submissions on EMR, which arrive in S3 some minutes after the end."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from airflow_batchemr.aws.emr.failure_report import failure_report
from airflow_batchemr.connections import shared_clients
from airflow_batchemr.triggers.base import LedgerTrigger

#: Seconds between two checks.
PAUSE = 15.0


class EmrLogsTrigger(LedgerTrigger):
    """Waits until the logs of failed submissions are available, at most until `wake_at`."""

    async def wait(self) -> dict[str, Any]:
        """Return with the status `logs`."""
        self.log.info("Waiting for the logs of what failed: EMR uploads them every five minutes and at the end")
        while self.wake_at is None or time.time() < self.wake_at:
            if await asyncio.to_thread(self._there):
                break
            await asyncio.sleep(min(PAUSE, self.time_left() or PAUSE))
        return self.payload(status="logs")

    def _there(self) -> bool:
        clients = shared_clients(self.aws_conn_id, self.region)
        ledger = self.job_ledger(clients)
        try:
            failed = {one.number: one.result for one in ledger.read().submissions if one.number in self.submissions}
            reports = [
                failure_report(clients, ledger, number, result, {})
                for number, result in failed.items()
                if result is not None
            ]
        except Exception as error:  # noqa: BLE001 - the wait is bounded, and the next check may succeed
            self.log.warning("Could not check for logs: %s", error)
            return False
        return all(one.complete for one in reports)
