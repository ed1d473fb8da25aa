"""Submissions of any kind, dispatched by the kind of their intent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.batch import jobs
from airflow_batchemr.aws.batch.children import Parent
from airflow_batchemr.aws.batch.remote import BatchRemote
from airflow_batchemr.aws.emr.job_run import JobRunRemote
from airflow_batchemr.aws.emr.remote import EmrRemote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.engine.backend import Ending, Found, Observation, RemoteWork
    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.engine.policy import Policy
    from airflow_batchemr.ledger import JobLedger, Submission


class AnyRemoteWork:
    """See `engine.backend.RemoteWork`: delegates each submission to the remote work of its kind.

    Args:
        clients: AWS.
        ledger: of the job.
        identity: of the job.
        described: as for `BatchRemote`.
    """

    def __init__(
        self,
        clients: Clients,
        ledger: JobLedger,
        identity: JobIdentity,
        described: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        self._batch = BatchRemote(clients, ledger, identity, described)
        emr, job_run = EmrRemote(clients, ledger, identity), JobRunRemote(clients, ledger, identity)
        self._by_kind: dict[str, RemoteWork] = {
            "batch": self._batch,
            "emr": emr,
            "steps": emr,
            "emr_serverless": job_run,
            "emr_eks": job_run,
        }

    def _of(self, submission: Submission) -> RemoteWork:
        return self._by_kind[submission.kind or "batch"]

    def find(self, submission: Submission) -> Found | None:
        """By name."""
        return self._of(submission).find(submission)

    def observe(self, submission: Submission) -> Observation:
        """By its ids."""
        return self._of(submission).observe(submission)

    def result(self, submission: Submission, observation: Observation) -> Ending | None:
        """How it ended."""
        return self._of(submission).result(submission, observation)

    def close(self, submission: Submission, observation: Observation) -> None:
        """Terminate what is no longer needed."""
        self._of(submission).close(submission, observation)

    def terminate(self, submission: Submission, reason: str) -> object | None:
        """Terminate it."""
        return self._of(submission).terminate(submission, reason)

    def terminate_started(self, parents: Sequence[Any]) -> None:
        """Terminate what the programs of terminated Batch jobs have started."""
        self._batch.terminate_started([parent for parent in parents if isinstance(parent, Parent)])


class AnyRemoteWorkReader:
    """See `engine.unrecorded.RemoteWorkReader`.

    Args:
        clients: AWS, with the configuration `aws.retry.INTERACTIVE`, because a user waits for the answers.
        policy: of the tasks.
    """

    def __init__(self, clients: Clients, policy: Policy) -> None:
        self._clients = clients
        self.policy = policy
        self._described: dict[str, dict[str, Any]] = {}

    def prefetch(self, submissions: Sequence[Submission]) -> None:
        """DescribeJobs for the Batch jobs of all submissions, 100 jobs per call."""
        handles = [one.handle for one in submissions if one.handle is not None and one.handle.kind == "batch"]
        self._described |= jobs.describe(self._clients, [job.job_id for handle in handles for job in handle.jobs])

    def of(self, ledger: JobLedger, identity: JobIdentity) -> AnyRemoteWork:
        """The remote work of one job."""
        return AnyRemoteWork(self._clients, ledger, identity, self._described)
