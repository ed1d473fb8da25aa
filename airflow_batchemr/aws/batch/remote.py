"""Submissions on AWS Batch: find, observe, collect and terminate them from their ledger records."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.batch import children, jobs
from airflow_batchemr.aws.batch.children import status_of
from airflow_batchemr.aws.batch.results import collect, result_of
from airflow_batchemr.aws.emr.clusters import CLOCK_SKEW
from airflow_batchemr.aws.explicit_success import SUCCESS_URI, UNCONFIRMED, folder, reason, written
from airflow_batchemr.core.container_overrides import recorded
from airflow_batchemr.core.job_container import container_of
from airflow_batchemr.engine.backend import Ending, Found, Observation
from airflow_batchemr.engine.ownership import difference, refuse
from airflow_batchemr.engine.submission_records import REFUSED, children_document, refused_result
from airflow_batchemr.ledger import Failure, Handle, HandleJob

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from airflow_batchemr.aws.batch.results import JobEnd
    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.ledger import Intent, JobLedger, Submission

#: In the details of an intent: that the job itself writes a marker for each index, in case AWS deletes its record, and
#: the name of their folder. True: an earlier version wrote it, in which all submissions of a rerun shared one.
IN_JOB = "in_job"
_REVISION = re.compile(r"\Aarn:.*:[0-9]+\Z")


@dataclass(frozen=True)
class BatchRemote:
    """See `engine.backend.RemoteWork`."""

    clients: Clients
    ledger: JobLedger
    """Of the job."""
    identity: JobIdentity
    described: Mapping[str, dict[str, Any]] | None = None
    """The answer of DescribeJobs to all jobs of the submissions to observe, by id; None: it is called."""
    _ours: set[str] = field(default_factory=set, init=False)
    """Ids of jobs whose names and tags have been found to be those of their submission."""

    def find(self, submission: Submission) -> Found | None:
        """ListJobs by the name of the submission, which is the prefix of the names of its arrays, and DescribeJobs.

        Of several jobs with one name the oldest counts: the others are its twins.
        """
        intent = submission.intent
        if intent is None:
            return None
        started: list[HandleJob] = []
        twins: list[Handle] = []
        named = self._named(submission.number, intent)
        for request in intent.requests:
            found = named.get(request.name, [])
            handles = [HandleJob(job_id=job["jobId"], name=request.name, indices=request.indices) for job in found]
            started += handles[:1]
            others = zip(found[1:], handles[1:], strict=True)
            twins += [Handle(kind="batch", jobs=[one]) for job, one in others if status_of(job) not in jobs.FINAL]
        if not started:
            return None
        complete = len(started) == len(intent.requests)
        return Found(Handle(kind="batch", jobs=started), complete=complete, twins=twins)

    def _named(self, number: int, intent: Intent) -> dict[str, list[dict[str, Any]]]:
        """Jobs with the names of a submission, oldest first: ListJobs.

        Anybody who may submit jobs can use the names. Jobs that are older than the intent (ten minutes of clock skew
        allowed), or have another job definition or other tags (DescribeJobs), are not those of the submission.
        """
        definitions = {request.name: str(request.request.get("jobDefinition", "")) for request in intent.requests}
        since = (intent.written_at - CLOCK_SKEW).timestamp() * 1000
        name = self.identity.submission_name(number)  # that of the record may be somebody else's
        listed = []
        for job in jobs.find(self.clients, str(intent.first.get("jobQueue", "")), name):
            expected = definitions.get(job["jobName"])
            if expected is None or 0 < jobs.created_at(job) < since:
                continue
            # Requests of earlier versions may have no revision, which AWS adds
            if not _REVISION.search(expected) or job.get("jobDefinition", expected) == expected:
                listed.append(job)
        foreign = self._foreign([number], self._unknown([job["jobId"] for job in listed]))
        found: dict[str, list[dict[str, Any]]] = {}
        for job in listed:
            if job["jobId"] not in foreign:
                found.setdefault(job["jobName"], []).append(job)
        return found

    def _unknown(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """DescribeJobs for the jobs that have not been compared before."""
        return jobs.describe(self.clients, [id_ for id_ in ids if id_ not in self._ours])

    def _foreign(self, numbers: Collection[int], described: Mapping[str, dict[str, Any]]) -> dict[str, str]:
        """Which jobs are not the work of one of the submissions, and why."""
        problems = {}
        for id_, job in described.items():
            name, tags = job["jobName"], job.get("tags") or {}
            found = [difference(self.identity, number, name, tags) for number in numbers]
            if all(found):
                problems[id_] = str(found[0])
            else:
                self._ours.add(id_)
        return problems

    def observe(self, submission: Submission) -> Observation:
        """DescribeJobs, 100 jobs per call; for ended jobs also their results and what their programs started."""
        assert submission.handle is not None  # noqa: S101 - the engine has adopted it
        ids = [job.job_id for job in submission.handle.jobs]
        known = jobs.describe(self.clients, ids) if self.described is None else self.described
        described = {id_: known[id_] for id_ in ids if id_ in known}
        refuse(self.ledger, submission.number, self._foreign([submission.number], described))
        state = jobs.states(described.values())
        if any(job["status"] not in jobs.FINAL for job in described.values()):
            return Observation("running", state=state)
        ended = [collect(self.clients, job, described.get(job.job_id)) for job in submission.handle.jobs]
        ended = self._marked(submission, [self._confirmed(submission, one) for one in ended])
        view, stopped = children.Settled([], [], ended), submission.stop is not None
        if children.waited_for(submission) or stopped:
            prefix = self.identity.child_prefix(submission.number)
            view = children.settle(self.clients, prefix, ended, stopped=stopped)
        if len(described) < len(ids):
            return Observation("not_visible", answer=view, state=state)
        return Observation("running" if view.running else "ended", answer=view, state=state)

    def _confirmed(self, submission: Submission, ended: JobEnd) -> JobEnd:
        """With `explicit_success`, keep only the successes that the programs have confirmed; the rest has failed.

        Whether that is required is read from the submission's own request, so that every try concludes the same.
        """
        requests = submission.intent.requests if submission.intent is not None else []
        variables = recorded(requests[0].request).get("environment", []) if requests else []
        if not ended.succeeded or all(one.get("name") != SUCCESS_URI for one in variables):
            return ended
        number = submission.number
        confirmed = ended.succeeded & written(self.ledger, folder(number))
        unconfirmed = [
            Failure(
                index=index,
                reason=reason(self.ledger, number, index),
                exit_code=0,
                job_id=ended.job.get("jobId"),
                log_stream=container_of(ended.job).get("logStreamName"),
                cause=UNCONFIRMED,
            )
            for index in ended.succeeded - confirmed
        ]
        return replace(ended, succeeded=confirmed, failures=[*ended.failures, *unconfirmed])

    def _marked(self, submission: Submission, ended: list[JobEnd]) -> list[JobEnd]:
        """With `markers: in_job`, count the markers of jobs that AWS no longer knows."""
        details = submission.intent.details if submission.intent is not None else {}
        if not details.get(IN_JOB) or not any(one.lost for one in ended):
            return ended
        own = done_folder(submission.number)
        marked = written(self.ledger, _shared_folder(submission.rerun_token) if details[IN_JOB] is True else own)
        return [replace(one, succeeded=one.succeeded | one.indices & marked) if one.lost else one for one in ended]

    def result(self, submission: Submission, observation: Observation) -> Ending | None:
        """Which indices succeeded, and why the others did not.

        The document `children/<number>.json` gets everything AWS reported about each child of arrays up to 1,000;
        `started/<number>.json` what the programs started themselves, if the job waited for it or it was stopped.
        """
        view: children.Settled = observation.answer
        if view.running:
            return None
        documents: dict[str, bytes] = {}
        if view.found:
            documents[f"started/{submission.number:04d}.json"] = jobs.as_json(view.found)
        result = result_of(view.ended, rerun_token=submission.rerun_token, ignored=_ignored(submission))
        if submission.stop is not None and submission.stop.by == REFUSED:
            result = refused_result(submission, submission.stop.reason, result)
        if submission.size is not None:  # later tries read results only
            result = result.model_copy(update={"details": {**result.details, "size": submission.size}})
        if whole := [child for one in view.ended for child in one.children]:
            documents[children_document(submission.number)] = jobs.as_json(whole)
        return Ending(result, documents)

    def close(self, submission: Submission, observation: Observation) -> None:  # noqa: ARG002 - for other backends
        """Terminate jobs that the programs of failed indices started and that still run."""
        if observation.answer is not None:
            jobs.terminate(self.clients, observation.answer.unwanted, "its parent has ended")

    def terminate(self, submission: Submission, reason: str) -> children.Parent | None:
        """Terminate its jobs; of a submission without a handle, every job with its name.

        DescribeJobs is called for jobs that have not been observed.
        """
        ids: list[str] = []
        if submission.handle is not None:
            ids = [job.job_id for job in submission.handle.jobs]
        elif submission.intent is not None:
            named = self._named(submission.number, submission.intent)
            ids = [job["jobId"] for found in named.values() for job in found]
        self.end([submission.number], ids, reason)
        if submission.intent is None:
            return None
        prefix = self.identity.child_prefix(submission.number)
        return children.Parent(prefix, ids, reason, children.waited_for(submission))

    def end(self, numbers: Collection[int], ids: Sequence[str], reason: str) -> None:
        """Terminate jobs, except for those that are not the work of one of the submissions.

        A job that AWS does not show is terminated by its id: it has just been submitted, or AWS has deleted it.

        Raises:
            ForeignWorkError: there is such a job; the others have been terminated.
        """
        foreign = self._foreign(numbers, self._unknown(ids))
        jobs.terminate(self.clients, [id_ for id_ in ids if id_ not in foreign], reason)
        refuse(self.ledger, min(numbers, default=0), foreign)

    def terminate_started(self, parents: Sequence[Any]) -> None:
        """Terminate the jobs that the programs of terminated jobs have started themselves."""
        children.stop(self.clients, parents)


def done_folder(number: int) -> str:
    """Folder of the documents that a job writes itself, one per index (`markers: in_job`); a submission has its own."""
    return f"done/{number:04d}/"


def _shared_folder(rerun_token: str | None) -> str:
    if rerun_token is None:
        return "done/"
    return f"done-{hashlib.sha256(rerun_token.encode()).hexdigest()[:12]}/"


def _ignored(submission: Submission) -> frozenset[str]:
    """Causes that are no failure of an index: it was stopped, or the index of another job that it depends on failed."""
    requests = submission.intent.requests if submission.intent is not None else []
    follows = any("dependsOn" in one.request for one in requests)
    return frozenset({"stopped", "dependency"} if follows else {"stopped"})
