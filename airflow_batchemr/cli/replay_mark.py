"""Records written by `batchemr replay --mark`: a submission of the index, and the marker if it was the last one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batchemr.aws.explicit_success import SUCCESS_URI, folder, reason, written
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.ledger import Intent, Marker, Request, Result, Submission

if TYPE_CHECKING:
    from airflow_batchemr.engine.replay import Shard
    from airflow_batchemr.ledger import JobLedger


def identity_of(state_uri: str, intent: Intent) -> JobIdentity:
    """Return the identity of the job and try that made a recorded submission."""
    return JobIdentity(
        state=state_uri,
        dag_id=intent.dag_id,
        run_key=intent.run_key,
        job=intent.job,
        run_id=intent.run_id or intent.run_key,
        task_id=intent.task_id or intent.job,
        map_index=intent.map_index,
        try_number=intent.try_number,
    )


def record_success(ledger: JobLedger, shard: Shard, how: str) -> str:
    """Record the success of an index as a separate submission, which is claimed and closed immediately.

    Returns:
        A message that describes what was recorded.

    Raises:
        LookupError: The index is done, or belongs to another open submission, or its program has not written the object
            that `explicit_success` requires.
    """
    if SUCCESS_URI in shard.environment and shard.index not in written(ledger, folder(shard.submission)):
        raise LookupError(f"not recorded: {reason(ledger, shard.submission, shard.index)}")
    one = IndexSet.of([shard.index])
    while True:
        state = ledger.read()
        if shard.index in state.done | state.running:
            raise LookupError(
                f"not recorded: index {shard.index} has meanwhile been finished or claimed by another submission"
            )
        intent = Intent(
            kind="batch",
            name=f"{shard.intent.name.rpartition('-a')[0]}-a{state.next_number:04d}",
            requests=[Request(name=f"replay-{how}", indices=one, request=shard.request)],
            indices=one,
            rerun_token=state.rerun_token,
            dag_id=shard.intent.dag_id,
            run_key=shard.intent.run_key,
            job=shard.intent.job,
            run_id=shard.intent.run_id,
            task_id=shard.intent.task_id,
            try_number=shard.intent.try_number,
            map_index=shard.intent.map_index,
            details={"replay": how},
        )
        if ledger.claim(state.next_number, intent):
            break
    ledger.record_result(
        state.next_number,
        Result(
            kind="batch",
            outcome="succeeded",
            indices=one,
            succeeded=one,
            rerun_token=state.rerun_token,
            owner=Submission(state.next_number, None, intent).owner,
            details={"replay": how},
        ),
    )
    return marked(ledger, shard)


def marked(ledger: JobLedger, shard: Shard) -> str:
    """Write the job's marker if nothing is left to do.

    Returns:
        A message that describes what was recorded and what is left to do.
    """
    state = ledger.read()
    if state.marker is None and not state.open_submissions and state.done == IndexSet.range(shard.size):
        xcom = {
            "run_key": shard.intent.run_key,
            "job": shard.intent.job,
            "size": shard.size,
            "submissions": len(state.numbers),
            "ledger": ledger.uri,
        }
        ledger.mark(Marker(submission=max(state.numbers), size=shard.size, rerun_token=state.rerun_token, xcom=xcom))
        return f"index {shard.index} is recorded as done; it was the last one: marker written to {ledger.marker_uri}"
    left = shard.size - len(state.done)
    return f"index {shard.index} is recorded as done; {left:,} of {shard.size:,} indices left"
