"""One Batch job of a pipeline: a single job or an array of any size, which runs once per run key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.operator import OPERATOR_DEFAULTS

from airflow_batchemr.aws.batch.options import array_options, batch_options
from airflow_batchemr.aws.errors import InvalidRequest
from airflow_batchemr.aws.options import validated
from airflow_batchemr.connections import as_airflow_error
from airflow_batchemr.links.batch import BatchJobLink, BatchQueueLink, FailedIndexLogLink
from airflow_batchemr.links.history import HistoryLink
from airflow_batchemr.links.ledger import LedgerLink
from airflow_batchemr.operators.base import LedgerOperator
from airflow_batchemr.operators.batch_work import BatchWork
from airflow_batchemr.operators.options import (
    check_text,
    describes,
    is_template,
    job_option,
    takes,
    unresolved,
)
from airflow_batchemr.pipeline_file.models import Batch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@describes(Batch)
class BatchArrayOperator(BatchWork):
    """Runs a command on AWS Batch, once per index, and waits for it without occupying a worker slot.

    After a failed, killed or lost try, only the indices that have not succeeded run again, and their programs see the
    same `AWS_BATCH_JOB_ARRAY_INDEX`.

    The options are those of `batch:` in a pipeline file, with the same values and checks. They are
    checked when the Dag is parsed, and those that contain a template or another task's output again when the task
    runs, before anything is submitted.

    Args:
        **options: the fields of `batch:`, see docs/pipeline-file.md or `help(BatchArrayOperator)`: command, image,
            definition, queue, vcpus, memory, env, timeout and so on.
        array: number of indices, 1 to 1,000,000; one index is a single job that sees index 0. Or a mapping:
            `{pack: s3://…/, into: N | max_bytes: | max_objects:, suffix:}` packs objects into shards of about equal
            bytes, `{per_object: s3://…/*.csv}` is one index per object, `{rows: s3://…}` one index per line; with
            `allow_empty: true` no data is a success. `{size: N, markers: in_job}`: the job itself writes a marker per
            index, for runs in which Airflow may be down for longer than AWS keeps records of jobs.
        cluster: ledger name of a cluster of this run: the program gets `EMR_CLUSTER_ID` and `EMR_MASTER`.
        explicit_success: whether the program has to write an object to `BATCHEMR_SUCCESS_URI` to succeed (for an array,
            to that URI followed by its index); exit code 0 is then not enough.
        index_of: ledger name of a job of this run with an array of the same size. Index i starts when index i of that
            job has succeeded (an N_TO_N dependency). Both tasks run at the same time.
        job_queue: the amazon provider's name for the Batch job queue. If it is given, `queue` is Airflow's queue.
        worker_queue: Airflow's `queue`.
        **kwargs: of `LedgerOperator`, `AwsOperator` and Airflow's BaseOperator. `job_definition` may also be the name
            of a job definition, as in the amazon provider.
    """

    template_fields: Sequence[str] = (
        *LedgerOperator.template_fields,
        "job_queue",
        "array",
        "cluster",
        "explicit_success",
        "index_of",
        *(name for name in Batch.model_fields if name != "queue"),
    )
    job_option_names: Sequence[str] = (*LedgerOperator.job_option_names, "explicit_success")
    template_fields_renderers = {"env": "json", "command": "json", "submit": "json"}  # noqa: RUF012 - Airflow's own form

    operator_extra_links = (BatchJobLink(), FailedIndexLogLink(), BatchQueueLink(), HistoryLink(), LedgerLink())

    @takes(Batch)
    def __init__(
        self,
        *,
        array: int | dict[str, Any] | None = None,
        cluster: str | None = None,
        explicit_success: bool = False,
        index_of: str | None = None,
        queue: str | None = None,
        job_queue: str | None = None,
        worker_queue: str | None = None,
        **kwargs: Any,
    ) -> None:
        given = {name: kwargs.pop(name) for name in Batch.model_fields if name in kwargs}
        # Airflow creates the task of a map index from the arguments of `partial`, where `queue` is Airflow's queue
        mapped = getattr(self, "_BaseOperator__from_mapped", False)
        if worker_queue is None and (mapped or job_queue is not None):
            queue, worker_queue = None, queue
        # Also if `default_args` has a `queue`, which would be Airflow's as well
        kwargs["queue"] = worker_queue or OPERATOR_DEFAULTS["queue"]
        super().__init__(**kwargs)
        self.array = array
        size = array.get("size") if isinstance(array, dict) else array
        # Also that of a map index, which may come from another task
        self._size_known_later = size is not None and (mapped or is_template(size) or unresolved(size))
        self.cluster = cluster
        self.explicit_success = job_option("explicit_success", explicit_success)
        self.index_of = index_of
        check_text(cluster=cluster, index_of=index_of)
        self.job_queue = job_queue or queue
        with as_airflow_error():
            self._keep({**given, "queue": self.job_queue})
            if not unresolved(array):
                array_options(array)

    def _keep(self, given: dict[str, Any]) -> None:
        """Check the options and store each one as an attribute, where Airflow renders templates."""
        given = _with_definition(given)
        late = {name: value for name, value in given.items() if unresolved(value)}
        known = {name: value for name, value in given.items() if name not in late}
        options = validated(Batch, known) if late else batch_options(known)
        for name, value in {**options.model_dump(), **late}.items():
            if name != "queue":  # Airflow's attribute
                self.convert(name, given.get(name), value)

    def options(self) -> Batch:
        """Return the options of the job with rendered templates.

        Raises:
            InvalidRequest: Names every invalid option.
        """
        given = {name: getattr(self, name) for name in Batch.model_fields if name != "queue"}
        options = batch_options(_with_definition({**given, "queue": self.job_queue}), rendered=True)
        self.runnable_timeout = options.runnable_timeout  # another task may have provided it, such as 15m
        return options

    def array_options(self) -> dict[str, Any]:
        """Return the options of `array` with rendered templates. Without an array, the job has one index.

        Raises:
            InvalidRequest: Names the option.
        """
        if self.array is None and self._size_known_later:
            raise InvalidRequest("array: expected a number of indices, not None: it is the output of another task")
        return array_options(self.array, rendered=True)

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Start to define a mapped task, as in Airflow. As in the constructor, `queue` is the Batch job queue.

        Raises:
            AirflowFailException: Names the invalid options.
            TypeError: An argument is unknown.
        """
        options = {name: value for name, value in kwargs.items() if name in Batch.model_fields and name != "queue"}
        with as_airflow_error():
            validated(
                Batch, {name: value for name, value in _with_definition(options).items() if not unresolved(value)}
            )
        return super().partial(**kwargs)

    @classmethod
    def prepare_mapped(cls, kwargs: dict[str, Any], given: Mapping[str, Any], names: set[str]) -> None:
        """Decide which of the arguments is the Batch job queue and which is Airflow's queue, as in the constructor.

        Raises:
            TypeError: An argument is unknown, or cannot be mapped.
        """
        super().prepare_mapped(kwargs, given, names)
        if "queue" in names:
            raise TypeError("expand(queue=…): Airflow cannot map its own argument `queue`; give job_queue=[…]")
        job_queue, queue, worker_queue = (given.get(name) for name in ("job_queue", "queue", "worker_queue"))
        if worker_queue is None and (job_queue is not None or "job_queue" in names):
            worker_queue = queue
        if job_queue is None:
            kwargs["default_args"]["job_queue"] = queue  # for map indices without their own
        kwargs.pop("worker_queue", None)
        kwargs["queue"] = worker_queue or OPERATOR_DEFAULTS["queue"]


def _with_definition(given: Mapping[str, Any]) -> dict[str, Any]:
    """Rename `job_definition` if it is text, the amazon provider's name for `definition`."""
    options = dict(given)
    if isinstance(options.get("job_definition"), str):
        if options.get("definition"):
            raise InvalidRequest("job_definition: as text it is the same as `definition`: give one")
        options["definition"] = options.pop("job_definition")
    return options
