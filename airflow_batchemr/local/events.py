"""Events of AWS Batch for EventBridge."""

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
#: Maximum entries of one PutEvents call.
MAX_ENTRIES = 10


class Events:
    """Puts "Batch Job State Change" events in the order of the changes.

    Events without a matching rule have no effect, so none are put before the first rule is created.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._wanted = False
        self._queue: queue.SimpleQueue[tuple[str, dict[str, Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="local-aws-events", daemon=True)
        self._thread.start()

    def want(self) -> None:
        """Start putting events, because a rule has been created."""
        self._wanted = True

    def clear(self) -> None:
        """Stop putting events, because there are no rules any more."""
        self._wanted = False

    def job_changed(self, job: Job) -> None:
        """Put an event for a job whose status has changed."""
        if self._wanted:
            described = describe.detail(job)
            if not described["startedAt"]:
                # As in the example of "AWS Batch Events" in the user guide
                del described["startedAt"]
            entry = {
                "Source": "aws.batch",
                "DetailType": "Batch Job State Change",
                "Resources": [described["jobArn"]],
                "Detail": json.dumps(described),
            }
            self._queue.put((job.region, entry))

    def close(self) -> None:
        """Put the pending events and stop the thread."""
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
                log.exception("cannot put events")
