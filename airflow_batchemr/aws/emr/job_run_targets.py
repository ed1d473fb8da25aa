"""Spark job runs on EMR Serverless and on EMR on EKS."""

from __future__ import annotations

import shlex
import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from botocore import xform_name

from airflow_batchemr.aws.emr.clusters import CLOCK_SKEW
from airflow_batchemr.aws.emr.logs import ClusterLogs
from airflow_batchemr.aws.emr.request import plain
from airflow_batchemr.aws.errors import InvalidRequest, NotFound, member
from airflow_batchemr.aws.retry import call_again
from airflow_batchemr.aws.validation import check_request
from airflow_batchemr.core import emr_releases
from airflow_batchemr.core.tags import SHORT_NAME
from airflow_batchemr.pipeline_file.steps.spark import ARCHIVE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.aws.emr.diagnosis import Log
    from airflow_batchemr.ledger.records import Kind
    from airflow_batchemr.pipeline_file.models import Spark


@dataclass(frozen=True)
class JobRun:
    """A job run as AWS describes it."""

    run_id: str
    name: str
    state: str
    reason: str = ""
    answer: dict[str, Any] = field(default_factory=dict, compare=False, hash=False)

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> JobRun:
        """Read the answer of a describe call, or an entry of ListJobRuns; raises `UnexpectedAnswer`."""
        parts = (description.get("failureReason"), description.get("stateDetails"))
        reason = ": ".join(part for part in parts if part)
        run_id = description.get("jobRunId") or member(description, "id", "a job run")
        state = member(description, "state", "a job run")
        return cls(run_id, description.get("name", ""), state, reason, plain(description))

    def __str__(self) -> str:
        return f"{self.state}: {self.reason}".removesuffix(": ")

    @property
    def tags(self) -> dict[str, str]:
        """Its tags; lists of EMR Serverless have none."""
        return dict(self.answer.get("tags") or {})

    @property
    def succeeded(self) -> bool:
        """Whether it has succeeded."""
        return self.state in {"SUCCESS", "COMPLETED"}

    @property
    def ended(self) -> bool:
        """Whether its state is final."""
        return self.succeeded or self.state in {"FAILED", "CANCELLED"}


@dataclass(frozen=True)
class JobRunTarget(ABC):
    """Where job runs are started. The subclasses are the two services, whose calls differ in field names."""

    where: str
    """Application id, or virtual cluster id."""
    role: str
    """ARN of the IAM role of the run."""
    release: str | None = None
    log_uri: str | None = None

    kind: ClassVar[Kind]
    service: ClassVar[str]
    """Name of the service in boto3 and IAM."""
    place_field: ClassVar[str]
    run_field: ClassVar[str]
    since_field: ClassVar[str]
    submit_field: ClassVar[str]
    describe_operation: ClassVar[str]
    driver: ClassVar[str]
    """Prefix of the Spark property that sets an environment variable of the driver."""
    living: ClassVar[Sequence[str]]
    """States in which a run has not ended."""

    def request(
        self,
        spark: Spark,
        name: str,
        tags: Mapping[str, str],
        environment: Mapping[str, str],
        deadline: int | None,
    ) -> dict[str, Any]:
        """StartJobRun's arguments for the submission of that name.

        If the service has such a limit, the run ends itself after `deadline` seconds.

        Raises:
            InvalidRequest: the service does not support an option, or would refuse a value.
        """
        submit: dict[str, Any] = {"entryPoint": spark.py or spark.jar, "entryPointArguments": list(spark.args)}
        if parameters := self._parameters(spark, environment):
            submit["sparkSubmitParameters"] = parameters
        made: dict[str, Any] = {
            self.place_field: self.where,
            "clientToken": token(name),
            "executionRoleArn": self.role,
            "name": self.short(name),
            "jobDriver": {self.submit_field: submit},
            "tags": dict(tags),
            **self.limits(deadline),
        }
        if self.log_uri:
            monitoring = {"s3MonitoringConfiguration": {"logUri": self.log_uri}}
            made["configurationOverrides"] = {"monitoringConfiguration": monitoring}
        check_request(self.service, "StartJobRun", made)
        return made

    def short(self, name: str) -> str:
        """A submission's name, shortened to the service's limit."""
        return name

    @abstractmethod
    def limits(self, deadline: int | None) -> dict[str, Any]:
        """The arguments of StartJobRun that only this service has."""

    @abstractmethod
    def release_label(self, clients: Clients) -> str:
        """The EMR release that the runs get."""

    @abstractmethod
    def log_folder(self, run_id: str) -> str:
        """The folder of the driver's logs below the log URI."""

    def start(self, clients: Clients, request: dict[str, Any]) -> str:
        """StartJobRun; with the same client token, a second call returns the same run."""
        answer = self._call(clients, "StartJobRun", **request)
        return str(member(answer, self.run_field, f"{self.service}:StartJobRun"))

    def describe(self, clients: Clients, run_id: str) -> JobRun | None:
        """One run; None if AWS does not know it."""
        try:
            answer = self._call(clients, self.describe_operation, **self._names(run_id))
        except NotFound:
            return None
        return JobRun.of(member(answer, "jobRun", f"{self.service}:{self.describe_operation}"))

    def listed(self, clients: Clients, **arguments: Any) -> list[JobRun]:
        """Runs of the target, filtered by ListJobRuns' arguments."""
        pages = clients.get(self.service).get_paginator("list_job_runs")
        call = f"{self.service}:ListJobRuns"
        found = call_again(lambda: list(pages.paginate(**{self.place_field: self.where}, **arguments)), call)
        return [JobRun.of(run) for page in found for run in member(page, "jobRuns", call)]

    def find(self, clients: Clients, name: str, since: datetime) -> list[JobRun]:
        """Runs with a name that were started after `since` (ten minutes of clock skew allowed), oldest first."""
        runs = self.listed(clients, **{self.since_field: since - CLOCK_SKEW})
        return [run for run in reversed(runs) if run.name == self.short(name)]

    def cancel(self, clients: Clients, run_id: str) -> None:
        """CancelJobRun; a run that has ended is no error."""
        try:
            self._call(clients, "CancelJobRun", **self._names(run_id))
        except InvalidRequest:
            run = self.describe(clients, run_id)
            if run is not None and not run.ended and run.state not in {"CANCELLING", "CANCEL_PENDING"}:
                raise

    def _names(self, run_id: str) -> dict[str, str]:
        return {self.place_field: self.where, self.run_field: run_id}

    def _call(self, clients: Clients, operation: str, **arguments: Any) -> Any:
        call = getattr(clients.get(self.service), xform_name(operation))
        return call_again(lambda: call(**arguments), f"{self.service}:{operation}")

    def logs(self, clients: Clients, run_id: str) -> list[Log]:
        """The driver's logs that have been uploaded so far."""
        return ClusterLogs(clients, self.log_uri).driver(self.log_folder(run_id)) if self.log_uri else []

    def _parameters(self, spark: Spark, environment: Mapping[str, str]) -> str:
        """The arguments between `spark-submit` and the application, quoted for a shell."""
        if spark.python_env and not spark.python_env.endswith((".tar.gz", ".tgz", ".zip")):
            raise InvalidRequest(
                f"python_env: {spark.python_env} cannot be installed, because the service provides the machines: give "
                "a packed environment (s3://….tar.gz)"
            )
        variables, archives = dict(environment), list(spark.archives)
        if spark.python_env:
            variables["PYSPARK_PYTHON"] = f"./{ARCHIVE}/bin/python"
            archives.append(f"{spark.python_env}#{ARCHIVE}")
        conf = {
            f"{prefix}{name}": value
            for name, value in variables.items()
            for prefix in (self.driver, "spark.executorEnv.")
        }
        if spark.python_env:
            conf[f"{self.driver}PYSPARK_DRIVER_PYTHON"] = variables["PYSPARK_PYTHON"]
        if archives:  # not as --archives, which would override `spark.archives` in the block's conf
            conf["spark.archives"] = ",".join(archives)
        conf |= self.image(spark)
        lists = {
            "--packages": spark.packages,
            "--jars": spark.jars,
            "--py-files": spark.py_files,
            "--files": spark.files,
        }
        sizes = {
            "spark.driver.memory": spark.driver_memory and f"{spark.driver_memory}m",
            "spark.driver.cores": spark.driver_cores,
            "spark.executor.memory": spark.executor_memory and f"{spark.executor_memory}m",
            "spark.executor.cores": spark.executor_cores,
            "spark.executor.instances": spark.num_executors,
        }
        options = [("--class", spark.class_)] if spark.class_ else []
        options += [("--conf", f"{key}={value}") for key, value in {**conf, **spark.conf}.items()]
        options += [(option, ",".join(values)) for option, values in lists.items() if values]
        options += [("--conf", f"{key}={size}") for key, size in sizes.items() if size]
        return shlex.join(word for option in options for word in option)

    def image(self, spark: Spark) -> dict[str, str]:
        """Properties that choose the image; raises `InvalidRequest` if the service does not allow it."""
        return {"spark.kubernetes.container.image": spark.docker_image} if spark.docker_image else {}


class Serverless(JobRunTarget):
    """An application of EMR Serverless."""

    kind = "emr_serverless"
    service = "emr-serverless"
    place_field, run_field, since_field = "applicationId", "jobRunId", "createdAtAfter"
    submit_field = "sparkSubmit"
    describe_operation = "GetJobRun"
    driver = "spark.emr-serverless.driverEnv."
    living = ("SUBMITTED", "PENDING", "SCHEDULED", "RUNNING", "CANCELLING", "QUEUED")

    def limits(self, deadline: int | None) -> dict[str, Any]:
        """A run ends itself after the deadline, by default after 12 hours."""
        return {"executionTimeoutMinutes": -(-deadline // 60)} if deadline else {}

    def image(self, spark: Spark) -> dict[str, str]:
        """The image is the application's."""
        if spark.docker_image:
            raise InvalidRequest("docker_image: EMR Serverless uses the image of the application: set it there")
        return {}

    def release_label(self, clients: Clients) -> str:
        """The application's: 1 GetApplication."""
        try:
            answer = self._call(clients, "GetApplication", applicationId=self.where)
        except InvalidRequest as error:
            raise InvalidRequest(f"on: there is no EMR Serverless application {self.where}: {error}") from error
        call = "emr-serverless:GetApplication"
        return str(member(member(answer, "application", call), "releaseLabel", call))

    def log_folder(self, run_id: str) -> str:
        """The folder layout of EMR Serverless."""
        return f"applications/{self.where}/jobs/{run_id}/SPARK_DRIVER/"


class Eks(JobRunTarget):
    """A virtual cluster of EMR on EKS."""

    kind = "emr_eks"
    service = "emr-containers"
    place_field, run_field, since_field = "virtualClusterId", "id", "createdAfter"
    submit_field = "sparkSubmitJobDriver"
    describe_operation = "DescribeJobRun"
    driver = "spark.kubernetes.driverEnv."
    living = ("PENDING", "SUBMITTED", "RUNNING", "CANCEL_PENDING")

    def limits(self, deadline: int | None) -> dict[str, Any]:  # noqa: ARG002 - there is no such limit
        """The release is the run's own."""
        return {"releaseLabel": self.release}

    def short(self, name: str) -> str:
        """The last 64 characters: the unique part of a name is at its end."""
        return name[-SHORT_NAME:]

    def release_label(self, clients: Clients) -> str:  # noqa: ARG002 - Serverless has to ask
        """The release label of the file's release: emr-7.5.0 for emr-7.5.0-latest."""
        return emr_releases.base(self.release or "")

    def log_folder(self, run_id: str) -> str:
        """The folder layout of EMR on EKS."""
        return f"{self.where}/jobs/{run_id}/containers/spark-{run_id}/spark-{run_id}-driver/"


def token(name: str) -> str:
    """The client token of a submission, derived from its name."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"airflow-batchemr:{name}"))
