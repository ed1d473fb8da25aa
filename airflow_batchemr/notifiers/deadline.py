"""What happens when a run has not ended by the pipeline's `deadline`."""

from __future__ import annotations

import logging
from typing import Any

from asgiref.sync import sync_to_async

from airflow_batchemr.notifiers.receivers import Message, send

log = logging.getLogger(__name__)


async def tell_missed(receivers: list[dict[str, Any]], dag_id: str, seconds: int, context: Any = None) -> None:
    """Tell all receivers of a pipeline; Airflow calls it in the triggerer.

    Args:
        receivers: as in the pipeline file.
        dag_id: the pipeline.
        seconds: its deadline.
        context: what Airflow knows about the run there: a mapping with `dag_run`.

    Raises:
        Exception: the first receiver that could not be reached, when all have been tried.
    """
    run = (context or {}).get("dag_run") or {}
    run_id = run.get("dag_run_id") or run.get("run_id") or "" if isinstance(run, dict) else getattr(run, "run_id", "")
    message = Message(
        f"{dag_id} {run_id} has not ended within {seconds} s".replace("  ", " "),
        f"The run {run_id} goes on; this is its deadline of {seconds} s after it was queued.",
        dag_id,
    )
    log.warning("%s", message.subject)
    known: Any = context or {}
    problems = []
    for receiver in receivers:
        try:
            await sync_to_async(send)(receiver, message, known)
        except Exception as error:  # one receiver's trouble must not keep it from the others
            log.exception("Cannot tell %s", ", ".join(receiver))
            problems.append(error)
    if problems:
        raise problems[0]
