"""A Spark job on EMR Serverless or EMR on EKS: one job run, identified by its name and client token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.emr.job_run_targets import Eks, JobRun, JobRunTarget, Serverless
from airflow_batchemr.aws.emr.preflight import check_release
from airflow_batchemr.aws.emr.remote import RemoteOnEmr, ending
from airflow_batchemr.aws.explicit_success import UNCONFIRMED, environment, folder, reason, written
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.backend import Found, NewSubmission, Observation
from airflow_batchemr.engine.ownership import difference, refuse
from airflow_batchemr.engine.single_work import ONE, SingleWork
from airflow_batchemr.ledger import Failure, Handle, HandleJob, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import Self

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.engine.backend import Ending, SubmissionPlan
    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.ledger import Intent, JobLedger, LedgerState, Submission
    from airflow_batchemr.pipeline_file.models import Spark


def job_run_target(on: Mapping[str, Any]) -> JobRunTarget:
    """The target that plain values of `on:` describe: `{emr_serverless: …}` or `{emr_eks: …}`."""
    if serverless := on.get("emr_serverless"):
        return Serverless(serverless["application"], serverless["role"], None, serverless.get("log_uri"))
    eks = on["emr_eks"]
    return Eks(eks["virtual_cluster"], eks["role"], eks["release"], eks.get("log_uri"))


class JobRunRemote(RemoteOnEmr):
    """See `engine.backend.RemoteWork`."""

    def find(self, submission: Submission) -> Found | None:
        """ListJobRuns of the target, by name, and a call that describes each that is found."""
        intent = submission.intent
        if intent is None:
            return None
        # The name in the record may be somebody else's
        name = self._identity.submission_name(submission.number)
        found = _target(intent).find(self._clients, name, intent.written_at)
        found = [run for run in found if self._problem(submission, intent, run.run_id) is None]
        if not found:
            return None
        twins = [_handle(intent.kind, run.run_id, name) for run in found[1:] if not run.ended]
        return Found(_handle(intent.kind, found[0].run_id, name), twins=twins)

    def _difference(self, submission: Submission, run: JobRun | None) -> str | None:
        if run is None:
            return None
        problem = difference(self._identity, submission.number, run.name, run.tags)
        if problem is None:
            self._ours.add(run.run_id)
        return problem

    def _problem(self, submission: Submission, intent: Intent, run_id: str) -> str | None:
        """Why a job run is not the submission's: one call, if it has not been compared before.

        None also if the service does not show it.
        """
        if run_id in self._ours:
            return None
        return self._difference(submission, _target(intent).describe(self._clients, run_id))

    def observe(self, submission: Submission) -> Observation:
        """GetJobRun or DescribeJobRun."""
        assert submission.intent is not None  # noqa: S101 - what is open has been read whole
        run_id = _run_id(submission)
        run = _target(submission.intent).describe(self._clients, run_id)
        refuse(self._ledger, submission.number, {run_id: self._difference(submission, run)})
        if run is None:
            return Observation("not_visible")
        return Observation("ended" if run.ended else "running", answer=run, state=run.state)

    def result(self, submission: Submission, observation: Observation) -> Ending | None:
        """How the job run ended."""
        run: JobRun | None = observation.answer
        succeeded = ONE if run is not None and run.succeeded else IndexSet()
        why, cause = ("AWS no longer shows it", "lost") if run is None else (str(run), None)
        explicit = submission.intent is not None and submission.intent.details.get("explicit")
        if explicit and succeeded and not written(self._ledger, folder(submission.number)):
            why, cause, succeeded = reason(self._ledger, submission.number, 0), UNCONFIRMED, IndexSet()
        failure = Failure(index=0, reason=why, job_id=_run_id(submission), cause=cause)
        details = {"job_run": run.answer if run else {}}
        return ending(submission, succeeded, lost=run is None, failures=[failure], details=details)

    def close(self, submission: Submission, observation: Observation) -> None:
        """Nothing to do: a job run leaves nothing running."""

    def terminate(self, submission: Submission, reason: str) -> None:  # noqa: ARG002 - the services record no reason
        """CancelJobRun, after a call that describes what has not been observed."""
        intent = submission.intent
        if intent is None:
            return
        for handle in self.handles_of(submission):
            for job in handle.jobs:  # none if it has been abandoned
                problem = self._problem(submission, intent, job.job_id)
                refuse(self._ledger, submission.number, {job.job_id: problem})
                _target(intent).cancel(self._clients, job.job_id)


def _target(intent: Intent) -> JobRunTarget:
    where = str(intent.details.get("where", ""))
    return Serverless(where, "") if intent.kind == "emr_serverless" else Eks(where, "")


def _run_id(submission: Submission) -> str:
    assert submission.handle is not None  # noqa: S101 - the engine has adopted it
    return submission.handle.jobs[0].job_id


def _handle(kind: Any, run_id: str, name: str) -> Handle:
    return Handle(kind=kind, jobs=[HandleJob(job_id=run_id, name=name, indices=ONE)])


@dataclass(kw_only=True)
class JobRunBackend(SingleWork):
    """See `engine.backend.Backend`."""

    target: JobRunTarget
    spark: Spark
    clients: Clients
    identity: JobIdentity
    ledger: JobLedger
    environment: Mapping[str, str]
    """Variables for driver and executors."""
    deadline: int | None = None
    """Seconds after which the run ends itself, if the service has such a limit."""
    explicit_success: bool = False

    @classmethod
    def of(
        cls,
        on: Mapping[str, Any],
        spark: Spark,
        *,
        env: Mapping[str, str] | None,
        deadline: int | None,
        explicit_success: bool = False,
        clients: Clients,
        ledger: JobLedger,
        identity: JobIdentity,
    ) -> Self:
        """The backend of a job, whose options are checked as a whole; `on` has the plain values of `on:`.

        Raises:
            InvalidRequest: the service does not support an option.
        """
        backend = cls(
            target=job_run_target(on),
            spark=spark,
            clients=clients,
            ledger=ledger,
            identity=identity,
            environment=env or {},
            deadline=deadline,
            explicit_success=explicit_success,
        )
        backend.request(0)
        return backend

    def new_submission(self, plan: SubmissionPlan, state: LedgerState) -> NewSubmission:  # noqa: ARG002 - of the protocol
        """StartJobRun's arguments."""
        self.check_release()
        name = self.identity.submission_name(plan.number)
        request = Request(name=name, indices=ONE, request=self.request(plan.number))
        details = {"where": self.target.where, **({"explicit": True} if self.explicit_success else {})}
        return NewSubmission(self.target.kind, [request], details)

    def request(self, number: int) -> dict[str, Any]:
        """StartJobRun's arguments for the submission with a number; see `JobRunTarget.request`."""
        variables = {**self.identity.environment(number), **self.environment}
        if self.explicit_success:
            variables |= environment(self.ledger, number)
        name, tags = self.identity.submission_name(number), self.identity.tags(number)
        return self.target.request(self.spark, name, tags, variables, self.deadline)

    def start(self, request: Request, sleep: Callable[[float], object]) -> Handle:  # noqa: ARG002 - botocore retries
        """StartJobRun; with the same client token, a second call returns the same run."""
        run_id = self.target.start(self.clients, dict(request.request))
        return _handle(self.target.kind, run_id, request.name)

    def stays(self, submission: Submission) -> bool:  # noqa: ARG002 - of the protocol
        """Job runs are never idle."""
        return False

    def check_release(self) -> None:
        """Check that the release of the target has the versions that the job requires; raises `InvalidRequest`."""
        if self.spark.requires:
            check_release(self.clients, self.target.release_label(self.clients), [], self.spark.requires)
