"""Every poll interval, grace period and limit of the engine, each with its reason.

All of them are settings in Airflow's configuration, section `[batchemr]`, under the names of the fields.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from airflow_batchemr.core.lease import CLAIM_LEASE


def _seconds(default: float, description: str) -> float:
    seconds: float = field(default=default, metadata={"description": description})
    return seconds


@dataclass(frozen=True)
class Policy:
    """Times in seconds. The descriptions are those of Airflow's configuration reference."""

    visibility_grace: float = _seconds(
        120.0,
        "How long AWS may not show work that was submitted before it counts as lost. Describe and list calls are "
        "eventually consistent: they lag by seconds after a submission and by a minute or two after a failover.",
    )
    claim_lease: float = _seconds(
        CLAIM_LEASE,
        "How long after a claim its owner may make the call: longer than a call and its repetitions take. Must be the "
        "same on all workers.",
    )
    call_margin: float = _seconds(
        15.0, "Part of the lease reserved for the call and for recording its answer; no call starts later."
    )
    search_pause: float = _seconds(
        5.0,
        "Pause between the last two searches by name for work whose answer was lost. Only if both find nothing, it is "
        "submitted again; a list may be old once.",
    )
    resubmit_pause: float = _seconds(
        30.0, "Pause before the retry of a submission that AWS throttled for over a minute."
    )
    dependency_pause: float = _seconds(
        10.0, "Interval between two reads of the ledger of the job that this job follows index by index."
    )
    outage_first_pause: float = _seconds(
        15.0, "First pause when AWS or S3 cannot be reached; each later one is about twice as long."
    )
    outage_longest_pause: float = _seconds(
        300.0, "Longest of these pauses: a recovered service is noticed within five minutes."
    )
    outage_limit: float = _seconds(
        6 * 3600.0, "How long an outage of AWS or S3 may last before a try fails. Regional outages have been shorter."
    )
    refusal_limit: float = _seconds(
        300.0,
        "How long AWS may refuse calls about work that is already submitted: changes of IAM take minutes to settle.",
    )
    kill_limit: float = _seconds(
        20.0, "How long a killed task may take to stop its remote work: Airflow sends SIGKILL soon after SIGTERM."
    )
    min_deferral: float = _seconds(
        12.0,
        "How long a deferral lasts at least; 0 turns this off. Airflow's scheduler fails a task that resumes before "
        "the scheduler has processed the exit of the worker that deferred it, which takes seconds on a busy machine.",
    )
    batch_poll_shortest: float = _seconds(
        2.5, "Shortest interval between two polls of Batch jobs: for jobs whose status has just changed."
    )
    batch_poll_longest: float = _seconds(
        30.0, "Longest interval between two polls of Batch jobs: for jobs that have not changed for ten minutes."
    )
    emr_poll_shortest: float = _seconds(
        4.0, "Shortest interval between two polls of EMR clusters, steps and job runs; EMR throttles per account."
    )
    emr_poll_longest: float = _seconds(
        12.0, "Longest interval between two polls of EMR; the median delay is at most half of it."
    )
    marker_poll_shortest: float = _seconds(
        5.0, "Shortest interval between two polls of S3MarkerSensor; each costs one GET per marker."
    )
    marker_poll_longest: float = _seconds(60.0, "Longest interval between two polls of S3MarkerSensor.")
    #: Pauses between searches by name after the answer to a call was lost; lists show new work within seconds.
    find_pauses: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)

    @property
    def abandon_after(self) -> float:
        """How long after a claim it is abandoned, if AWS shows nothing under its name: then its units are free again.

        The owner may have made the call at the end of its lease, so the grace period counts from there.
        """
        return self.claim_lease + self.visibility_grace


DEFAULT = Policy()
