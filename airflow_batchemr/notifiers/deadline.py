"""Notification that a run has missed the pipeline's `deadline`."""

from __future__ import annotations

import logging
from typing import Any

from asgiref.sync import sync_to_async

from airflow_batchemr.notifiers.receivers import Message, send

log = logging.getLogger(__name__)


async def notify_missed_deadline(
    receivers: list[dict[str, Any]], dag_id: str, seconds: int, context: Any = None
) -> None:
    """Notify all receivers of a pipeline. Airflow calls this function in the triggerer.

    Args:
        receivers: As in the pipeline file.
        dag_id: Dag id.
        seconds: Deadline in seconds after the run was queued.
        context: Context passed by Airflow: a mapping with `dag_run`.

    Raises:
        Exception: The first error of a receiver, raised after all receivers have been tried.
    """
    run = (context or {}).get("dag_run") or {}
    run_id = run.get("dag_run_id") or run.get("run_id") or "" if isinstance(run, dict) else getattr(run, "run_id", "")
    message = Message(
        f"{dag_id} {run_id} missed its deadline of {seconds} s".replace("  ", " "),
        f"The run {run_id} has not ended {seconds} s after it was queued. It continues to run.",
        dag_id,
    )
    log.warning("%s", message.subject)
    known: Any = context or {}
    problems = []
    for receiver in receivers:
        try:
            await sync_to_async(send)(receiver, message, known)
        except Exception as error:  # an error of one receiver must not affect the others
            log.exception("Cannot notify %s", ", ".join(receiver))
            problems.append(error)
    if problems:
        raise problems[0]
