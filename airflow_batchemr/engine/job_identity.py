"""Which piece of work of which run something on AWS is: names, tags and environment that follow from it alone."""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from airflow_batchemr.ledger.records import Intent

if TYPE_CHECKING:
    from airflow_batchemr.core.indices import IndexSet
    from airflow_batchemr.ledger.records import Kind, Request

#: AWS Batch: letters, digits, hyphen and underscore, at most 128. EMR takes more; one rule serves both.
NAME_LENGTH = 128
#: AWS tags: at most 256 characters a value, of these only.
_TAG_REFUSED = re.compile(r"[^\w\s.:/=+\-@]")


@dataclass(frozen=True)
class JobIdentity:
    """Names one job of one run, and the try of Airflow that deals with it now."""

    state: str
    """The state URI, without a slash at its end."""
    dag_id: str
    run_key: str
    job: str
    """The ledger's name of the job; for a mapped task it ends with the map index."""
    run_id: str
    task_id: str
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 0
    """Airflow's: a clear sets it to the number of the try that ran plus the `retries` that the file then has; nothing
    else changes it, nor do other `retries` in the file. So between two tries with different ones there was a clear; a
    clear goes unseen only where `retries` have been lowered by just as many as tries had run since the last one."""

    @classmethod
    def of(cls, values: dict[str, Any]) -> JobIdentity:
        """Make one of what `values` gave, such as a trigger's arguments."""
        return cls(**values)

    def values(self) -> dict[str, Any]:
        """Plain values, for a trigger's arguments."""
        return asdict(self)

    @property
    def token(self) -> str:
        """The ledger's `fresh` token for a rerun asked for in this run: one for all retries between two clears."""
        return f"{self.run_id}#{self.max_tries}"

    def work_name(self) -> str:
        """The deterministic beginning of the names of all that is started for this job of this run.

        Dag and job make it readable, a digest of state URI, Dag, run key and job makes it unique. What AWS Batch
        refuses in a name (all but letters, digits, `-` and `_`) becomes a hyphen; long names are cut.
        """
        whole = f"{self.state}\n{self.dag_id}\n{self.run_key}\n{self.job}"
        digest = hashlib.sha256(whole.encode()).hexdigest()[:12]
        return f"{slug(self.dag_id, 40)}-{slug(self.job, 40)}-{digest}"

    def submission_name(self, number: int) -> str:
        """The deterministic name of an attempt: at most 102 characters, so that `-p0001` fits behind it."""
        return f"{self.work_name()}-a{number:04d}"

    def child_prefix(self, number: int) -> str:
        """How the names of the jobs begin that the program of an attempt starts itself: at most 42 characters."""
        digest = self.work_name().rpartition("-")[2]
        return f"{slug(self.job, 20)}-{digest}-a{number:04d}-c-"

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
        """What is claimed for an attempt: its requests, under whose name and for whom."""
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
        """What a program is told about its run."""
        return {
            "PIPELINE_RUN_ID": self.run_key,
            "BATCHEMR_DAG_ID": self.dag_id,
            "BATCHEMR_RUN_KEY": self.run_key,
            "BATCHEMR_JOB": self.job,
            "BATCHEMR_SUBMISSION": str(number),
            "BATCHEMR_STATE": self.state,
            "BATCHEMR_CHILD_PREFIX": self.child_prefix(number),
        }

    def tags(self, number: int) -> dict[str, str]:
        """Tags of everything that is started for the attempt: for cost allocation and for finding orphans."""
        return {
            "batchemr:dag_id": tag_value(self.dag_id),
            "batchemr:run_key": tag_value(self.run_key),
            "batchemr:job": tag_value(self.job),
            "batchemr:submission": str(number),
            "batchemr:state": tag_value(self.state),
        }


def slug(name: str, length: int) -> str:
    """A name in letters, digits, hyphens and underscores, at most `length` of them; never empty."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:length].strip("-") or "x"


def tag_value(text: str) -> str:
    """A text as AWS takes it as a tag's value: other characters become underscores, at most 256."""
    return _TAG_REFUSED.sub("_", text)[:256]
