"""Batch's events for EventBridge."""

from __future__ import annotations

import json
import logging
import queue
import threading
from typing import TYPE_CHECKING, Any

from airflow_batchemr.local.batch import describe
from airflow_batchemr.local.upstream import Upstream, UpstreamError

if TYPE_CHECKING:
    from airflow_batchemr.local.batch.state import Job

__all__ = ["Events"]

log = logging.getLogger(__name__)
#: Entries of one PutEvents call.
MAX_ENTRIES = 10


class Events:
    """Puts "Batch Job State Change" events, in the order of the changes, once somebody has made a rule.

    An event that no rule matches goes nowhere, so before the first rule none is made.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._wanted = False
        self._queue: queue.SimpleQueue[tuple[str, dict[str, Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="local-aws-events", daemon=True)
        self._thread.start()

    def want(self) -> None:
        """A rule has been made."""
        self._wanted = True

    def clear(self) -> None:
        """There is no rule any more."""
        self._wanted = False

    def job_changed(self, job: Job) -> None:
        """A job has changed its status."""
        if self._wanted:
            described = describe.detail(job)
            entry = {
                "Source": "aws.batch",
                "DetailType": "Batch Job State Change",
                "Resources": [described["jobArn"]],
                "Detail": json.dumps(described),
            }
            self._queue.put((job.region, entry))

    def close(self) -> None:
        """Puts what is waiting, then ends."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            region, entry = first
            entries = [entry]
            while len(entries) < MAX_ENTRIES and not self._queue.empty():
                following = self._queue.get()
                if following is None:
                    self._queue.put(None)
                    break
                entries.append(following[1])
            try:
                self._upstream.json("events", region, "AWSEvents.PutEvents", {"Entries": entries})
            except (UpstreamError, OSError):
                log.exception("events could not be put")
