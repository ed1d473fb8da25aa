"""Stop the work of a killed task in the little time that Airflow leaves, also if S3 does not answer."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_batchemr.engine.backend import RemoteWork
    from airflow_batchemr.ledger import Submission

#: Seconds between two tries.
PAUSE = 1.0


def insist(stop: Callable[[], None], seconds: float, log: Any) -> bool:
    """Repeat `stop` until it succeeds, for at most some seconds. Returns whether it has succeeded.

    Runs in a thread, because the signal may have interrupted a call that holds locks, and a call may hang.
    """
    ends, stopped = time.monotonic() + seconds, threading.Event()

    def run() -> None:
        while not stopped.is_set():
            try:
                stop()
                stopped.set()
            except Exception as error:  # noqa: BLE001 - whatever it is, the work still runs
                if time.monotonic() + PAUSE >= ends:
                    log.error("Killed, but the work is not stopped: %s", error)  # noqa: TRY400 - no traceback
                    return
                log.warning("Killed, but the work is not stopped yet (%s): trying again", error)
                time.sleep(PAUSE)

    thread = threading.Thread(target=run, name="batchemr on_kill", daemon=True)
    thread.start()
    thread.join(seconds)
    return stopped.is_set()


def terminate_known(remote: RemoteWork, submissions: Sequence[Submission], reason: str) -> None:
    """Terminate submissions without the ledger.

    Raises:
        AwsError: A call failed; the others have been made.
    """
    failures: list[Exception] = []
    parents = []
    for submission in reversed(submissions):  # steps before the cluster that they run on
        try:
            parent = remote.terminate(submission, reason)
        except Exception as error:  # noqa: BLE001 - terminate the others nevertheless
            failures.append(error)
            continue
        if parent is not None:
            parents.append(parent)
    if parents:
        remote.terminate_started(parents)
    if failures:
        raise failures[0]
