"""State of the local EMR: clusters and their steps."""

from __future__ import annotations

import random
import string
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow_batchemr.local.clock import milliseconds

if TYPE_CHECKING:
    from airflow_batchemr.local.clock import Timer

__all__ = ["ACCOUNT", "CLUSTER_ENDED", "STEP_ENDED", "Cluster", "Step", "now", "numbers"]

ACCOUNT = "123456789012"
CLUSTER_ENDED = frozenset({"TERMINATED", "TERMINATED_WITH_ERRORS"})
STEP_ENDED = frozenset({"COMPLETED", "CANCELLED", "FAILED", "INTERRUPTED"})


def now() -> datetime:
    """Return the current time in milliseconds resolution, like EMR."""
    return datetime.fromtimestamp(milliseconds() / 1000, timezone.utc)


def numbers(label: str) -> tuple[int, ...]:
    """Return a release label as numbers for comparisons."""
    return tuple(int(part) for part in label.removeprefix("emr-").split(".") if part.isdecimal())


def new_id(prefix: str) -> str:
    """Return a new id in the format of EMR: a prefix such as `j-` or `s-` and 13 letters and digits."""
    return prefix + "".join(random.choices(string.ascii_uppercase + string.digits, k=13))  # noqa: S311 (no secret)


@dataclass(eq=False)
class Step:
    """A step of a cluster; `config` is the request's StepConfig."""

    id: str
    config: dict[str, Any]
    state: str = "PENDING"
    reason: str | None = None
    failure: dict[str, str] | None = None
    created: datetime = field(default_factory=now)
    started: datetime | None = None
    ended: datetime | None = None

    @property
    def action_on_failure(self) -> str:
        """Effect of a failure on the cluster; CONTINUE by default."""
        action = str(self.config.get("ActionOnFailure", "CONTINUE"))
        return "TERMINATE_CLUSTER" if action == "TERMINATE_JOB_FLOW" else action


@dataclass(eq=False)
class Cluster:
    """A cluster; `request` is that of RunJobFlow.

    Attributes:
        number: Sequence number of the cluster.
        ending: Final state, reason code and message, once it terminates.
        idle: Timer that terminates the cluster after its idle timeout.
    """

    number: int
    id: str
    region: str
    request: dict[str, Any]
    tags: dict[str, str]
    groups: list[dict[str, Any]]
    fleets: list[dict[str, Any]]
    instances: list[dict[str, Any]]
    keep_alive: bool
    protected: bool
    concurrency: int
    auto_termination: dict[str, Any] | None
    managed_scaling: dict[str, Any] | None
    visible: bool = True
    state: str = "STARTING"
    reason: dict[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    created: datetime = field(default_factory=now)
    ready: datetime | None = None
    ended: datetime | None = None
    ending: tuple[str, str, str] | None = None
    idle: Timer | None = None

    @property
    def arn(self) -> str:
        """The cluster's ARN."""
        return f"arn:aws:elasticmapreduce:{self.region}:{ACCOUNT}:cluster/{self.id}"

    @property
    def release(self) -> tuple[int, ...]:
        """Release as numbers for comparisons."""
        return numbers(str(self.request["ReleaseLabel"]))

    @property
    def log_folder(self) -> tuple[str, str] | None:
        """Bucket and key prefix of the cluster's logs; None without a LogUri."""
        uri = self.request.get("LogUri")
        if not uri:
            return None
        bucket, _, prefix = uri.partition("://")[2].partition("/")
        prefix = prefix.rstrip("/")
        return bucket, f"{prefix}/{self.id}" if prefix else self.id

    @property
    def master(self) -> str:
        """The EC2 id of the primary node."""
        return str(self.instances[0]["Ec2InstanceId"])

    def active_steps(self) -> list[Step]:
        """Steps that have not ended."""
        return [step for step in self.steps if step.state not in STEP_ENDED]
