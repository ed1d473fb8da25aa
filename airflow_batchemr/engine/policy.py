"""How long the engine waits, and for what: every grace period and limit, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_batchemr.ledger.state import CLAIM_LEASE


@dataclass(frozen=True)
class Policy:
    """Times in seconds. Operators take those of Airflow's configuration, section `[batchemr]`."""

    visibility_grace: float = 120.0
    """How long work may be invisible to AWS's describe calls before it counts as lost.

    List and describe calls are eventually consistent: they lag behind a submission by seconds, and behind a failover
    by a minute or two. AWS documents no limit.
    """
    claim_lease: float = CLAIM_LEASE
    """How long after a claim its owner may make the call. Whoever finds the claim later than that, and nothing on AWS
    under its name, submits again."""
    call_margin: float = 15.0
    """What is left of the lease for the call itself and for recording its answer; no call starts later."""
    find_pauses: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    """Pauses between searches by name after the answer to a call was lost. Lists show new work within seconds."""
    resubmit_pause: float = 30.0
    """Until a submission is tried again that AWS throttled for over a minute."""
    dependency_pause: float = 10.0
    """Until the ledger of a job is read again whose submission this job waits for."""
    outage_first_pause: float = 15.0
    """Until the first new try when AWS or S3 cannot be reached; each later pause is about twice as long."""
    outage_longest_pause: float = 300.0
    """Longest pause of these; a recovered service is noticed within five minutes."""
    outage_limit: float = 6 * 3600.0
    """How long an outage may last before the try fails: regional outages of AWS have been shorter."""
    refusal_limit: float = 300.0
    """How long AWS may refuse calls about work that is already submitted: changes of IAM take minutes to settle."""
    kill_limit: float = 20.0
    """How long a killed task may take to stop its remote work: Airflow sends SIGKILL soon after SIGTERM."""


DEFAULT = Policy()
