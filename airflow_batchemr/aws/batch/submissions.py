"""The attempts of a Batch job: claim, call, record; find again, conclude, stop."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.batch import children, jobs
from airflow_batchemr.aws.batch.explicit import confirmed
from airflow_batchemr.aws.batch.results import REFUSED, collect, refused_result, result_of
from airflow_batchemr.aws.errors import AwsError, Refused, Unknown
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.history_reader import children_document
from airflow_batchemr.ledger import Handle, HandleJob, LedgerError, StopRequest, Submission

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_batchemr.aws.batch.results import Ended
    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.ledger import JobLedger, LedgerState, Request

#: Seconds of its lease that a claim keeps for the call itself and for recording its answer.
MARGIN = 15.0
#: Seconds after a submit in which AWS may not show the job yet; after them a job it does not know is lost.
INVISIBLE = 120.0
#: Seconds between looks for a job whose SubmitJob was not answered.
LOOKS = (0.5, 1.0, 2.0, 4.0)


class StoppedError(Exception):
    """The task was killed while it worked."""


class BatchSubmissions:
    """Brings the attempts of one job through their lives; knows nothing that does not stand in the ledger.

    Args:
        clients: AWS.
        ledger: the job's.
        identity: whose work it is.
        dependent: whether the job follows another one index by index: that the other one's index has failed is then no
            failure of this job.
        waits_for_children: whether new attempts end only when the jobs have ended that their programs have started.
        sleep: waits.
        in_job: whether the job itself leaves a marker an index, which is looked at where AWS has forgotten a job.
        stopping: whether the task has been killed; looked at before each call that starts something.
    """

    def __init__(
        self,
        clients: Clients,
        ledger: JobLedger,
        identity: JobIdentity,
        *,
        in_job: bool = False,
        dependent: bool = False,
        waits_for_children: bool = False,
        sleep: Callable[[float], object] = time.sleep,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._clients = clients
        self._ledger = ledger
        self._identity = identity
        self._in_job = in_job
        self._forgiven = frozenset({"stopped", "dependency"} if dependent else {"stopped"})
        self._waits_for_children = waits_for_children
        self._sleep = sleep
        self._stopping = stopping
        self.children: dict[int, list[str]] = {}
        """By attempt: ids of the jobs for which alone it is still waited, as `conclude` has found them."""

    # Starting

    def start(
        self,
        number: int,
        requests: list[Request],
        state: LedgerState,
        rerun_token: str | None,
        *,
        size: int | None = None,
    ) -> Submission | None:
        """Claim an attempt and submit it; None where somebody else has claimed the number.

        The attempt that comes back is abandoned where its lease ran out, or AWS would take no calls, before anything
        was submitted: its indices are free again. It may run a part of them only; and it has no handle where the
        answer to a SubmitJob was lost and the job cannot be found yet.

        Raises:
            Refused: AWS said no. What had been submitted of the attempt is stopped; that it was refused is recorded, so
                that it does not run again in this try.
            StoppedError: the task was killed. Nothing runs.
        """
        indices = _union(request.indices for request in requests)
        details: dict[str, Any] = {children.WAITED_FOR: True} if self._waits_for_children else {}
        if size is not None:
            details["size"] = size
        intent = self._identity.intent(number, "batch", requests, indices, rerun_token=rerun_token, details=details)
        if not self._ledger.claim(number, intent):
            return None
        submission = Submission(number, state.now, intent=intent)
        started: list[HandleJob] = []
        failure: AwsError | None = None
        for request in requests:
            try:
                self._guard(number)
                job_id = self._submit(number, request)
            except (AwsError, StoppedError, TimeoutError) as error:
                failure = error if isinstance(error, AwsError) else None
                break
            started.append(HandleJob(job_id=job_id, name=request.name, indices=request.indices))
        if isinstance(failure, Unknown):  # perhaps it runs: no handle may say that it does not
            if not self._stopping():
                return submission  # it is found by its name, or abandoned once the lease has ended
            self.stop([submission], "the task was killed", by="submit")
            raise StoppedError
        submission = replace(submission, handle=self._record(number, started))
        if self._stopping():
            self.stop([submission], "the task was killed", by="submit")
            raise StoppedError
        if isinstance(failure, Refused):
            if submission.open:
                self.stop([submission], str(failure), by=REFUSED)
            else:
                self._ledger.record_result(number, refused_result(submission, str(failure)))
            raise failure
        return submission

    def _guard(self, number: int) -> None:
        if self._stopping():
            raise StoppedError
        if self._ledger.lease_left(number) < MARGIN:
            raise TimeoutError

    def _submit(self, number: int, request: Request) -> str:
        def sleep(seconds: float) -> None:
            self._sleep(seconds)
            self._guard(number)

        try:
            return jobs.submit(self._clients, dict(request.request), sleep=sleep)
        except Unknown:
            for pause in LOOKS:
                self._sleep(pause)
                try:
                    found = self._named(str(request.request["jobQueue"]), request.name)
                except AwsError:  # it cannot be told whether it runs: who comes later looks again
                    break
                if request.name in found:
                    return found[request.name]
            raise

    def _record(self, number: int, started: list[HandleJob]) -> Handle:
        """Record what was started; what is not in the handle that stands is ended."""
        mine = Handle(kind="batch", jobs=started, abandoned=not started)
        stands = self._ledger.record_handle(number, mine)
        kept = {job.job_id for job in stands.jobs}
        extra = [job.job_id for job in started if job.job_id not in kept]
        jobs.terminate(self._clients, extra, "somebody else took the attempt over")
        return stands

    # Finding again

    def adopt(self, submission: Submission, state: LedgerState) -> Submission:
        """Find out what of an open attempt reached AWS, and record it.

        Returns:
            The attempt with its handle (which says abandoned where nothing reached AWS); still without one while its
            owner may be submitting.
        """
        if submission.handle is not None:
            return submission
        ended = state.lease_ended(submission)
        if submission.intent is None:  # no more than a stop word of somebody who was faster than the claim
            return replace(submission, handle=self._ledger.abandon(submission, "batch")) if ended else submission
        requests = submission.intent.requests
        found = self._named(str(requests[0].request["jobQueue"]), submission.intent.name)
        started = [
            HandleJob(job_id=found[request.name], name=request.name, indices=request.indices)
            for request in requests
            if request.name in found
        ]
        if len(started) < len(requests) and not ended:
            return submission
        handle = (
            self._ledger.record_handle(submission.number, Handle(kind="batch", jobs=started))
            if started
            else self._ledger.abandon(submission, "batch")
        )
        return replace(submission, handle=handle)

    def _named(self, queue: str, prefix: str) -> dict[str, str]:
        """Job ids by name; of several with one name the oldest."""
        found: dict[str, str] = {}
        for job in sorted(jobs.find(self._clients, queue, prefix), key=lambda job: int(job.get("createdAt", 0))):
            found.setdefault(job["jobName"], job["jobId"])
        return found

    # Concluding

    def conclude(self, submission: Submission, state: LedgerState) -> Submission:
        """Record how an attempt ended; it comes back as it is while it runs.

        All that AWS said of each child of arrays up to 1,000 goes into the document `children/<number>.json`, and what
        the programs have started themselves, where that was waited for or stopped, into `started/<number>.json`.
        """
        handle = submission.handle
        if handle is None or handle.abandoned:
            return submission
        described = jobs.describe(self._clients, [job.job_id for job in handle.jobs])
        young = submission.claimed_at is None or (state.now - submission.claimed_at).total_seconds() < INVISIBLE
        for job in handle.jobs:
            known = described.get(job.job_id)
            if (known is None and young) or (known is not None and known["status"] not in jobs.FINAL):
                return submission
        ended = [collect(self._clients, job, described.get(job.job_id)) for job in handle.jobs]
        ended = [confirmed(self._clients, submission, one) for one in ended]
        if self._in_job and any(one.lost for one in ended):
            marked = self._marked(submission.rerun_token)
            for one in ended:
                one.succeeded |= one.indices & marked if one.lost else IndexSet()
        settled = self._settle(submission, ended)
        if settled is None:
            return submission
        ended = settled
        result = result_of(ended, rerun_token=submission.rerun_token, forgiven=self._forgiven)
        if submission.stop is not None and submission.stop.by == REFUSED:
            result = refused_result(submission, submission.stop.reason, result)
        if submission.size is not None:  # later tries read results only
            result = result.model_copy(update={"details": {**result.details, "size": submission.size}})
        whole = [child for one in ended for child in one.children]
        if whole:
            self._ledger.put_document(children_document(submission.number), jobs.as_json(whole))
        return replace(submission, result=self._ledger.record_result(submission.number, result))

    def _settle(self, submission: Submission, ended: list[Ended]) -> list[Ended] | None:
        """Take in what the programs have started; None while one of these jobs runs."""
        if not children.waited_for(submission) and submission.stop is None:
            return ended
        prefix = self._identity.child_prefix(submission.number)
        settled = children.settle(self._clients, prefix, ended, stopped=submission.stop is not None)
        self.children[submission.number] = settled.running
        if settled.running:
            return None
        if settled.found:
            self._ledger.put_document(f"started/{submission.number:04d}.json", jobs.as_json(settled.found))
        return settled.ended

    def _marked(self, rerun_token: str | None) -> IndexSet:
        folder = done_folder(rerun_token)
        names = (name.removeprefix(folder) for name in self._ledger.documents(folder))
        return IndexSet.of(int(name) for name in names if name.isdigit())

    # Stopping

    def stop(self, submissions: list[Submission], reason: str, *, by: str) -> None:
        """Leave word that attempts are to end, then end their jobs, and the jobs that their programs have started.

        Of an attempt without a handle, whatever bears its name is ended.

        Raises:
            AwsError, LedgerError: a call failed; what could be ended has been.
        """
        parents, failure = self.end(submissions, reason, by=by)
        # All that is our own comes first: to look for what the programs have started takes its time
        if parents:
            children.stop(self._clients, parents, sleep=self._sleep)
        if failure is not None:
            raise failure

    def end(
        self, submissions: list[Submission], reason: str, *, by: str
    ) -> tuple[list[children.Parent], AwsError | LedgerError | None]:
        """As `stop`, without what the programs have started.

        Returns:
            For `children.stop`: the attempts whose jobs were ended. And the first failure.
        """
        failures: list[AwsError | LedgerError] = []
        for submission in submissions:
            try:
                self._ledger.ask_stop(submission.number, StopRequest(reason=reason, by=by))
            except LedgerError as error:  # the status of the jobs says the same
                failures.append(error)
        parents = []
        for submission in submissions:
            try:
                ids = self._terminate(submission, reason)
            except AwsError as error:  # the others are ended all the same
                failures.append(error)
                continue
            if submission.intent is not None:
                prefix = self._identity.child_prefix(submission.number)
                parents.append(children.Parent(prefix, ids, reason, children.waited_for(submission)))
        return parents, failures[0] if failures else None

    def _terminate(self, submission: Submission, reason: str) -> list[str]:
        ids: list[str] = []
        if submission.handle is not None:
            ids = [job.job_id for job in submission.handle.jobs]
        elif submission.intent is not None:
            queue = str(submission.intent.requests[0].request["jobQueue"])
            ids = list(self._named(queue, submission.intent.name).values())
        jobs.terminate(self._clients, ids, reason)
        return ids


def done_folder(rerun_token: str | None) -> str:
    """Name of the documents that a job writes itself, one an index (`markers: in_job`); a rerun has its own."""
    return "done/" if rerun_token is None else f"done-{hashlib.sha256(rerun_token.encode()).hexdigest()[:12]}/"


def _union(sets: object) -> IndexSet:
    total = IndexSet()
    for one in sets:  # type: ignore[attr-defined]
        total |= one
    return total
