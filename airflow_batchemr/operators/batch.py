"""One Batch job of a pipeline: a single job or an array of any size, done once for a run key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.batch.options import BatchWords
from airflow_batchemr.links.batch import BatchJobLink, BatchQueueLink, FailedIndexLogLink
from airflow_batchemr.links.history import HistoryLink
from airflow_batchemr.links.ledger import LedgerLink
from airflow_batchemr.operators.base import LedgerOperator
from airflow_batchemr.operators.batch_work import BatchWork

if TYPE_CHECKING:
    from collections.abc import Sequence


class BatchArrayOperator(BatchWork):
    """Runs a command on AWS Batch, once for each index, and waits for it without holding a worker.

    A failed, killed or lost try goes on where it stopped: only the indices that have not succeeded run again, and they
    see their own numbers in `AWS_BATCH_JOB_ARRAY_INDEX`.

    Args:
        queue: job queue, name or ARN. Under `partial(...)` give it as `job_queue`: Airflow keeps `queue` there for its
            own workers.
        command: program and arguments, as a list or one line that is split as a shell would, without a shell.
        image: container image, for which a job definition is registered, once for its content.
        definition: a job definition's name, name:revision or ARN; anything else is taken for an image.
        array: number of indices, 1 to 1,000,000; one index is a single job that sees index 0. Or a mapping:
            `{pack: s3://…/, into: N | max_bytes: | max_objects:, suffix:}` packs objects into shards of about equal
            bytes, `{per_object: s3://…/*.csv}` is an index an object, `{rows: s3://…}` an index a line; with
            `allow_empty: true` no data is a success. `{size: N, markers: in_job}`: the job itself writes a marker an
            index, for runs whose Airflow may be away for longer than AWS remembers.
        vcpus: virtual CPUs.
        memory: MiB, or a list of sizes for indices that died of memory.
        gpus: GPUs.
        attempts: 1 to 10, by AWS; 3 if not given.
        retry_on: what those attempts are for: `spot`, `oom`, `pull`, `exit:75`; `[spot]` if not given.
        timeout: seconds an attempt of an index may run, at least 60.
        runnable_timeout: seconds that nothing of the job may run although it could; then it is stopped and fails, and
            says why.
        env: environment of the program.
        tags: AWS tags, besides those of the run's identity.
        parameters: of the job definition (`Ref::name`).
        share_identifier: for queues with fair shares.
        scheduling_priority: 0 to 9,999, with `share_identifier`.
        job_role: IAM role of the program; needs `image`, as do the next ones.
        execution_role: IAM role that fetches image and secrets.
        platform: `ec2` or `fargate`.
        secrets: name of a variable -> ARN of its secret.
        volumes: as RegisterJobDefinition takes them.
        mount_points: likewise.
        ulimits: likewise.
        log_configuration: likewise.
        preamble: False for images without `sh`: a resume then runs the whole array.
        submit: anything else of SubmitJob, merged deeply.
        job_definition: anything else of RegisterJobDefinition, merged deeply.
        cluster: ledger name of a cluster of this run: the program gets `EMR_CLUSTER_ID` and `EMR_MASTER`.
        explicit_success: exit 0 is not enough: the program has to write an object to `BATCHEMR_SUCCESS_URI` (of an
            array, to that URI with its index behind it).
        index_of: ledger name of a job of this run with an array of the same size: index i starts when index i of that
            job is done (AWS's N_TO_N). The two tasks run side by side.
        wait_for_children: the job is done when the jobs are, too, that its program has started with names that begin
            with `BATCHEMR_CHILD_PREFIX`, in whatever queue; one of them that fails fails the job (of an array: the
            index that its name goes on with, `${BATCHEMR_CHILD_PREFIX}17-resize`). They are stopped with the job in
            any case.
        deadline: seconds from the first submission in which the job has to be done; then it is stopped and fails.
        worker_queue: what Airflow calls `queue`.
        job_queue: the same as `queue`.
        **kwargs: of `LedgerOperator` and of Airflow's BaseOperator.
    """

    template_fields: Sequence[str] = (
        *LedgerOperator.template_fields,
        "job_queue",
        "command",
        "image",
        "definition",
        "array",
        "env",
        "tags",
        "parameters",
        "share_identifier",
        "job_role",
        "execution_role",
        "secrets",
        "submit",
        "job_definition",
        "cluster",
    )
    template_fields_renderers = {"env": "json", "command": "bash", "submit": "json"}  # noqa: RUF012 - Airflow's own form

    operator_extra_links = (BatchJobLink(), FailedIndexLogLink(), BatchQueueLink(), HistoryLink(), LedgerLink())

    def __init__(
        self,
        *,
        queue: str | None = None,
        command: str | Sequence[str] | None = None,
        image: str | None = None,
        definition: str | None = None,
        array: int | dict[str, Any] | None = None,
        vcpus: float | None = None,
        memory: int | list[int] | None = None,
        gpus: int | None = None,
        attempts: int | None = None,
        retry_on: list[str] | None = None,
        timeout: int | None = None,
        runnable_timeout: int | None = None,
        env: dict[str, str] | None = None,
        tags: dict[str, str] | None = None,
        parameters: dict[str, str] | None = None,
        share_identifier: str | None = None,
        scheduling_priority: int | None = None,
        job_role: str | None = None,
        execution_role: str | None = None,
        platform: str | None = None,
        secrets: dict[str, str] | None = None,
        volumes: list[dict[str, Any]] | None = None,
        mount_points: list[dict[str, Any]] | None = None,
        ulimits: list[dict[str, Any]] | None = None,
        log_configuration: dict[str, Any] | None = None,
        preamble: bool = True,
        submit: dict[str, Any] | None = None,
        job_definition: dict[str, Any] | None = None,
        cluster: str | None = None,
        index_of: str | None = None,
        explicit_success: bool = False,
        wait_for_children: bool = False,
        worker_queue: str | None = None,
        job_queue: str | None = None,
        **kwargs: Any,
    ) -> None:
        if worker_queue is not None:
            kwargs["queue"] = worker_queue
        super().__init__(**kwargs)
        self.job_queue = job_queue or queue
        self.command = command
        self.image = image
        self.definition = definition
        self.array = array
        self.vcpus = vcpus
        self.memory = memory
        self.gpus = gpus
        self.attempts = attempts
        self.retry_on = retry_on
        self.timeout = timeout
        self.runnable_timeout = runnable_timeout
        self.env = env
        self.tags = tags
        self.parameters = parameters
        self.share_identifier = share_identifier
        self.scheduling_priority = scheduling_priority
        self.job_role = job_role
        self.execution_role = execution_role
        self.platform = platform
        self.secrets = secrets
        self.volumes = volumes
        self.mount_points = mount_points
        self.ulimits = ulimits
        self.log_configuration = log_configuration
        self.preamble = preamble
        self.submit = submit
        self.job_definition = job_definition
        self.cluster = cluster
        self.index_of = index_of
        self.explicit_success = explicit_success
        self.wait_for_children = wait_for_children

    def options(self) -> BatchWords:
        """The job's Batch words, templates filled in."""
        return BatchWords(
            queue=self.job_queue or "",
            command=self.command,
            definition=self.definition,
            image=self.image,
            vcpus=self.vcpus,
            memory=self.memory,
            gpus=self.gpus,
            attempts=self.attempts,
            retry_on=self.retry_on,
            timeout=self.timeout,
            env=self.env or {},
            tags=self.tags or {},
            parameters=self.parameters or {},
            share_identifier=self.share_identifier,
            scheduling_priority=self.scheduling_priority,
            job_role=self.job_role,
            execution_role=self.execution_role,
            platform=self.platform,
            secrets=self.secrets or {},
            volumes=self.volumes or (),
            mount_points=self.mount_points or (),
            ulimits=self.ulimits or (),
            log_configuration=self.log_configuration,
            preamble=self.preamble,
            submit=self.submit or {},
            job_definition=self.job_definition or {},
        )
