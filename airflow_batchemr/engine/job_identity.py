"""The identity of a job of one run, and the names, tags and environment variables that are derived from it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from airflow_batchemr.core.tags import tag_value
from airflow_batchemr.ledger.records import Intent

if TYPE_CHECKING:
    from airflow_batchemr.core.indices import IndexSet
    from airflow_batchemr.ledger.records import Kind, Request


@dataclass(frozen=True)
class JobIdentity:
    """Identifies one job of one run, and the Airflow try that handles it now."""

    state: str
    """The state URI, without a slash at its end."""
    dag_id: str
    run_key: str
    job: str
    """The job's name in the ledger; for a mapped task it ends with the map index."""
    run_id: str
    task_id: str
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 0
    """Airflow's `max_tries`. A clear sets it to the number of the try that ran plus the current `retries` of the file;
    nothing else changes it, not even new `retries` in the file. Different values in two tries therefore mean that the
    task was cleared between them. A clear is missed only if `retries` were lowered by exactly the number of tries that
    had run since the last one."""
    run_began: str = ""
    """Start of the run, in ISO format. It differs for a run that was deleted and created again with the same run_id.
    Otherwise, only the clear of a finished run changes it. Empty if it is not known."""

    def values(self) -> dict[str, Any]:
        """The arguments that create it again, as plain values for a trigger."""
        return asdict(self)

    @property
    def token(self) -> str:
        """The token of a rerun that this run requests: the same for all retries between two clears."""
        return f"{self.run_id}#{self.max_tries}{f'@{self.run_began}' if self.run_began else ''}"

    def _digest(self) -> str:
        whole = f"{self.state}\n{self.dag_id}\n{self.run_key}\n{self.job}"
        return hashlib.sha256(whole.encode()).hexdigest()[:12]

    def work_name(self) -> str:
        """The deterministic prefix of the names of everything that is started for this job of this run.

        Dag and job make it readable, a digest of state URI, Dag, run key and job makes it unique.
        """
        return f"{_slug(self.dag_id, 40)}-{_slug(self.job, 40)}-{self._digest()}"

    def submission_name(self, number: int) -> str:
        """The deterministic name of a submission: at most 102 characters, so that `-p0001` can be appended."""
        return f"{self.work_name()}-a{number:04d}"

    def child_prefix(self, number: int) -> str:
        """Prefix for the names of jobs that the program of a submission starts itself: at most 42 characters."""
        return f"{_slug(self.job, 20)}-{self._digest()}-a{number:04d}-c-"

    def intent(
        self,
        number: int,
        kind: Kind,
        requests: list[Request],
        indices: IndexSet,
        *,
        rerun_token: str | None,
        details: dict[str, Any],
    ) -> Intent:
        """The intent of a submission: its requests, its name and its owner."""
        return Intent(
            kind=kind,
            name=self.submission_name(number),
            requests=requests,
            indices=indices,
            rerun_token=rerun_token,
            try_number=self.try_number,
            dag_id=self.dag_id,
            run_key=self.run_key,
            job=self.job,
            run_id=self.run_id,
            task_id=self.task_id,
            map_index=self.map_index,
            details=details,
        )

    def environment(self, number: int) -> dict[str, str]:
        """Environment variables that describe the run to the program."""
        return {
            "PIPELINE_RUN_ID": self.run_key,
            "BATCHEMR_DAG_ID": self.dag_id,
            "BATCHEMR_RUN_KEY": self.run_key,
            "BATCHEMR_JOB": self.job,
            "BATCHEMR_SUBMISSION": str(number),
            "BATCHEMR_STATE": self.state,
            "BATCHEMR_CHILD_PREFIX": self.child_prefix(number),
        }

    def replay_command(self) -> list[str]:
        """The command that runs an index of the job again, without ``--index``."""
        return ["batchemr", "replay", self.dag_id, self.run_key, self.job, "--state", self.state]

    def tags(self, number: int) -> dict[str, str]:
        """Tags of everything that is started for the submission: for cost allocation and for finding orphans."""
        return {
            "batchemr:dag_id": tag_value(self.dag_id),
            "batchemr:run_key": tag_value(self.run_key),
            "batchemr:job": tag_value(self.job),
            "batchemr:submission": str(number),
            "batchemr:state": tag_value(self.state),
        }


def _slug(name: str, length: int) -> str:
    """Replace what AWS Batch does not accept in a name by hyphens; cut it to `length` characters; never empty."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:length].strip("-") or "x"
