"""A job on AWS Batch: its indices, and the SubmitJobs that run them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws import explicit_success, s3_put_args
from airflow_batchemr.aws.batch import children, jobs
from airflow_batchemr.aws.batch.array_work import ArrayWork
from airflow_batchemr.aws.batch.data_arrays import data_array
from airflow_batchemr.aws.batch.definitions import definition_request, ensure_definition
from airflow_batchemr.aws.batch.remote import IN_JOB, done_folder
from airflow_batchemr.aws.batch.requests import submission_requests
from airflow_batchemr.aws.emr.running_cluster import running_cluster
from airflow_batchemr.core.arrays import split
from airflow_batchemr.core.errors import InvalidRequest
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.backend import NewSubmission
from airflow_batchemr.engine.decide import original_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import Self

    from airflow_batchemr.aws.batch.data_arrays import DataArray
    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.engine.backend import SubmissionPlan
    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.ledger import Handle, JobLedger, LedgerState, Request, Submission
    from airflow_batchemr.pipeline_file.models import Batch


@dataclass(kw_only=True)
class BatchBackend(ArrayWork):
    """See `engine.backend.Backend`.

    Attributes:
        options: of the `batch:` block.
        clients: AWS.
        ledger: of the job.
        identity: of the job.
        rerun_token: for claims; a rerun has its own markers.
        data: the array, if its size comes from data.
        in_job: whether the job itself writes a marker for each index.
        index_of: ledger name of the job that this one follows index by index.
        cluster: ledger name of the cluster whose address the program gets.
        explicit_success: whether the program has to write an object to succeed.
        wait_for_children: whether the job ends only when the jobs that its programs started have ended.
        size_rendered: whether the size comes from a template or another task. A run that has begun keeps its size.
        invalid: why the current options cannot be submitted, while work with earlier ones runs.
    """

    options: Batch
    clients: Clients
    ledger: JobLedger
    identity: JobIdentity
    rerun_token: str | None = None
    data: DataArray | None = None
    in_job: bool = False
    index_of: str | None = None
    cluster: str | None = None
    explicit_success: bool = False
    wait_for_children: bool = False
    size_rendered: bool = False
    invalid: InvalidRequest | None = None
    _definition: Mapping[str, Any] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.memory_sizes = max(1, len(self.options.memory or []))
        self.resumable = self.options.preamble

    @classmethod
    def of(
        cls,
        options: Batch,
        array: Mapping[str, Any],
        *,
        clients: Clients,
        ledger: JobLedger,
        rerun_token: str | None = None,
        index_of: str | None = None,
        **fields: Any,
    ) -> Self:
        """The backend of a job; reads the data if the size of the array comes from data.

        Args:
            options: of the `batch:` block.
            array: the `array:` block, as `array_options` gives it.
            clients: see the class, as the next ones.
            ledger: see the class.
            rerun_token: see the class.
            index_of: see the class.
            **fields: see the class.

        Raises:
            InvalidRequest: names the option.
            NothingFoundError: there is no data.
        """
        if index_of is not None and "size" not in array:
            raise InvalidRequest("index_of: a job that follows another one index by index needs a fixed array size")
        data = None if "size" in array else data_array(clients, ledger, array, rerun_token)
        size = int(array["size"]) if data is None else data.size
        return cls(
            options=options,
            size=size,
            clients=clients,
            ledger=ledger,
            rerun_token=rerun_token,
            index_of=index_of,
            data=data,
            in_job=array.get("markers") == "in_job",
            wait_for_children=options.wait_for_children,
            **fields,
        )

    def new_submission(self, plan: SubmissionPlan, state: LedgerState) -> NewSubmission | None:
        """The SubmitJobs of a plan; None if they have to wait for the job of `index_of`.

        Queue and definition are checked before the first one.

        Raises:
            InvalidRequest: names the option.
        """
        if self.invalid is not None:
            raise self.invalid
        if self.size_rendered and self.data is None:
            self.size = original_size(state) or self.size
        self._check_same_size(state)
        if self._definition is None:
            if self.options.registered_definition is None:
                # Find errors that need no call before anything is registered
                one = IndexSet.of([plan.indices.lowest])
                first = replace(plan, indices=one) if self.options.preamble else plan
                self._requests({**definition_request(self.options), "jobDefinitionArn": "own"}, first, {})
            self._definition = self.definition()
        after = None if self.index_of is None else self.parts_after(self.index_of, plan.indices)
        if after == []:
            return None
        environment = {} if self.cluster is None else self.cluster_environment(self.cluster)
        if self.explicit_success:
            index = 0 if self.size == 1 else None
            environment |= explicit_success.environment(self.ledger, plan.number, index)
        if self.explicit_success or self.in_job:
            environment |= s3_put_args.variables(self.clients.put_args)
        requests = self._requests(self._definition, plan, environment, after)
        details: dict[str, Any] = {"size": self.size}
        if self.wait_for_children:
            details[children.WAITED_FOR] = True
        if self.in_job:
            details[IN_JOB] = done_folder(plan.number)
        return NewSubmission("batch", requests, details)

    def _check_same_size(self, state: LedgerState) -> None:
        """Check that the array size is the one that the run began with, if something is done or runs."""
        began, size = original_size(state), self.size
        if began is not None and began != size:
            raise InvalidRequest(
                f"array: this run began with {began:,} {'index' if began == 1 else 'indices'}, of which "
                f"{len(state.done):,} {'is' if len(state.done) == 1 else 'are'} done; now the job has {size:,}. The "
                f"same index may do other work in an array of {size:,}, so nothing more is submitted. Set the size to "
                f"{began:,} to finish the run; or name the job in the `rerun` param of a run of this date to run all "
                f"of it again with {size:,}"
            )

    def _requests(
        self,
        definition: Mapping[str, Any],
        plan: SubmissionPlan,
        environment: Mapping[str, str],
        after: list[tuple[IndexSet, str | None]] | None = None,
    ) -> list[Request]:
        return submission_requests(
            self.options,
            definition,
            self.identity,
            plan.number,
            plan.indices,
            size=self.size,
            variant=plan.variant,
            environment=environment,
            values=self.data.values(self.ledger, plan.indices) if self.data else None,
            after=after,
            done_uri=self.ledger.document_uri(done_folder(plan.number)) if self.in_job else None,
        )

    def definition(self) -> Mapping[str, Any]:
        """Check the queue and find the job definition to run with; it is registered if necessary.

        Raises:
            InvalidRequest: names what does not exist.
        """
        jobs.check_queue(self.clients, str(self.options.job_queue))
        return ensure_definition(self.clients, self.options)

    def parts_after(self, job: str, indices: IndexSet) -> list[tuple[IndexSet, str | None]]:
        """What can be submitted now of a job that follows another one index by index.

        AWS's N_TO_N joins children by their position in the array, so both arrays must run the same indices. Indices
        that the other job has finished need no dependency; the set of a running job is submitted as the same set; the
        rest waits until the other job has submitted or finished it.

        Args:
            job: ledger name of the other job.
            indices: what is left of this job.

        Returns:
            Sets for one SubmitJob each, and the job that each depends on.

        Raises:
            InvalidRequest: the other job has another number of indices.
        """
        other = self.ledger_of(job).read()
        began = other.marker.size if other.marker is not None else original_size(other)
        if began is not None and began != self.size:
            raise InvalidRequest(
                f"index_of: {job} has {began:,} indices in this run, and this job {self.size:,}. A job that follows "
                "another one index by index has the same number of indices"
            )
        free = indices if other.marker is not None else indices & other.done
        parts: list[tuple[IndexSet, str | None]] = [(part, None) for part in split(free)] if free else []
        left = indices - free
        for submission in other.open_submissions:
            for one in submission.handle.jobs if submission.handle is not None else ():
                if one.indices and one.indices <= left:
                    parts.append((one.indices, one.job_id))
                    left -= one.indices
        return parts

    def cluster_environment(self, cluster: str) -> dict[str, str]:
        """Environment variables that describe the cluster to the program.

        Raises:
            InvalidRequest: it is not up.
        """
        return running_cluster(self.clients, self.identity, cluster).environment()

    def ledger_of(self, job: str) -> JobLedger:
        """The ledger of another job of this run."""
        who = self.identity
        return self.clients.ledger(who.state).job(who.dag_id, who.run_key, job)

    def start(self, request: Request, sleep: Callable[[float], object]) -> Handle:
        """SubmitJob."""
        return jobs.submit_request(self.clients, request, sleep=sleep)

    def stays(self, submission: Submission) -> bool:  # noqa: ARG002 - for other backends
        """Jobs are never idle."""
        return False
