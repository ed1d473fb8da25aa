"""Whether finished work runs again, and under which token: pure decisions on one reading of the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.ledger import LedgerState


def succeeded(state: LedgerState, identity: JobIdentity, *, skip_if_succeeded: bool, rerun_wanted: bool) -> bool:
    """Whether the work is done and does not have to run again.

    Args:
        state: the ledger.
        identity: of the job and this try.
        skip_if_succeeded: whether a marker of any run counts.
        rerun_wanted: whether this run requests that the job runs again.
    """
    if state.marker is None:
        return False
    again = not skip_if_succeeded or rerun_wanted
    return not again or state.marker.rerun_token == identity.token


def token_for_claims(
    state: LedgerState, identity: JobIdentity, *, skip_if_succeeded: bool, rerun_wanted: bool
) -> str | None:
    """The rerun token for claims of this try.

    A rerun begins if there is a marker that does not count, or if the run requests a rerun and has not begun one.
    A retry continues the rerun of the previous try; so does a try after a clear of a failed rerun.

    Args:
        state: the ledger.
        identity: of the job and this try.
        skip_if_succeeded: whether a marker of any run counts.
        rerun_wanted: whether this run requests that the job runs again.
    """
    done = succeeded(state, identity, skip_if_succeeded=skip_if_succeeded, rerun_wanted=rerun_wanted)
    if state.marker is not None and not done:
        return identity.token
    if rerun_wanted and not (state.rerun_token or "").startswith(f"{identity.run_id}#"):
        return identity.token
    if not skip_if_succeeded and not state.numbers:
        return identity.token  # so that a retry in this run recognizes the marker as its own
    return state.rerun_token
