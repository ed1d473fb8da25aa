"""Spark without a cluster of one's own: job runs on EMR Serverless and on EMR on EKS."""

from __future__ import annotations

import json
import shlex
import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_batchemr.aws.emr.logs import read_logs
from airflow_batchemr.aws.errors import InvalidRequest, NotFound
from airflow_batchemr.aws.retry import call_again
from airflow_batchemr.core import emr_releases
from airflow_batchemr.pipeline_file.steps.spark import ARCHIVE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.aws.emr.diagnosis import Log
    from airflow_batchemr.ledger.records import Kind
    from airflow_batchemr.pipeline_file.models import Spark

    Texts = Mapping[str, str]

_SKEW = timedelta(minutes=10)


@dataclass(frozen=True)
class JobRun:
    """What AWS says of a job run."""

    run_id: str
    name: str
    state: str
    reason: str = ""
    answer: dict[str, Any] = field(default_factory=dict, compare=False, hash=False)

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> JobRun:
        """Read it out of the answer to a look, or an entry of a list."""
        reason = ": ".join(word for word in (said.get("failureReason"), said.get("stateDetails")) if word)
        run_id = said.get("jobRunId") or said["id"]
        return cls(run_id, said.get("name", ""), said["state"], reason, plain(said))

    @property
    def tags(self) -> dict[str, str]:
        """Its tags; a list of EMR Serverless has none."""
        return dict(self.answer.get("tags") or {})

    @property
    def succeeded(self) -> bool:
        """Whether it has ended well."""
        return self.state in {"SUCCESS", "COMPLETED"}

    @property
    def ended(self) -> bool:
        """Whether nothing changes any more."""
        return self.succeeded or self.state in {"FAILED", "CANCELLED"}


@dataclass(frozen=True)
class JobRunTarget(ABC):
    """Where job runs are started; subclasses are the two services, whose calls differ in the names of fields."""

    where: str
    """Application id, or virtual cluster id."""
    role: str
    """ARN of the IAM role of the run."""
    release: str | None = None
    log_uri: str | None = None

    kind: ClassVar[Kind]
    service: ClassVar[str]
    """Of boto3 and of IAM."""
    place_field: ClassVar[str]
    run_field: ClassVar[str]
    since_field: ClassVar[str]
    submit_field: ClassVar[str]
    describe_call: ClassVar[tuple[str, str]]
    """As boto3 and as IAM name it."""
    driver: ClassVar[str]
    """Prefix of Spark's property that sets a variable of the driver."""
    living: ClassVar[Sequence[str]]
    """States in which a run has not ended."""

    def request(
        self,
        spark: Spark,
        name: str,
        tags: Mapping[str, str],
        environment: Mapping[str, str],
        deadline: int | None = None,  # noqa: ARG002 - for subclasses
    ) -> dict[str, Any]:
        """StartJobRun's arguments.

        Args:
            spark: the block.
            name: of the attempt.
            tags: of the run.
            environment: variables for driver and executors.
            deadline: seconds after which the run may end itself, where the service knows such a limit.

        Raises:
            InvalidRequest: for words that the service has no counterpart of.
        """
        submit: dict[str, Any] = {"entryPoint": spark.py or spark.jar, "entryPointArguments": list(spark.args)}
        if parameters := self.parameters(spark, environment):
            submit["sparkSubmitParameters"] = parameters
        made: dict[str, Any] = {
            self.place_field: self.where,
            "clientToken": token(name),
            "executionRoleArn": self.role,
            "name": self.short(name),
            "jobDriver": {self.submit_field: submit},
            "tags": dict(tags),
        }
        if self.log_uri:
            monitoring = {"s3MonitoringConfiguration": {"logUri": self.log_uri}}
            made["configurationOverrides"] = {"monitoringConfiguration": monitoring}
        return made

    def short(self, name: str) -> str:
        """An attempt's name as the service takes it."""
        return name

    @abstractmethod
    def release_label(self, clients: Clients) -> str:
        """The EMR release that the runs get."""

    @abstractmethod
    def log_folder(self, run_id: str) -> str:
        """The folder of the driver's logs below the log URI."""

    def start(self, clients: Clients, request: dict[str, Any]) -> str:
        """StartJobRun; its client token makes a second call with the same request the same run."""
        client = clients.get(self.service)
        answer = call_again(lambda: client.start_job_run(**request), f"{self.service}:StartJobRun")
        return str(answer[self.run_field])

    def describe(self, clients: Clients, run_id: str) -> JobRun | None:
        """One run; None where AWS does not know it."""
        call, action = self.describe_call
        describe = getattr(clients.get(self.service), call)
        try:
            answer = call_again(lambda: describe(**self._names(run_id)), f"{self.service}:{action}")
        except NotFound:
            return None
        return JobRun.of(answer["jobRun"])

    def listed(self, clients: Clients, **arguments: Any) -> list[JobRun]:
        """Runs of the place, by ListJobRuns' arguments."""
        pages = clients.get(self.service).get_paginator("list_job_runs")
        found = call_again(
            lambda: [
                run for page in pages.paginate(**{self.place_field: self.where}, **arguments) for run in page["jobRuns"]
            ],
            f"{self.service}:ListJobRuns",
        )
        return [JobRun.of(run) for run in found]

    def find(self, clients: Clients, name: str, since: datetime) -> str | None:
        """The run of a name that was started after `since`."""
        since = since - _SKEW
        found = [run for run in self.listed(clients, **{self.since_field: since}) if run.name == self.short(name)]
        return found[-1].run_id if found else None

    def cancel(self, clients: Clients, run_id: str) -> None:
        """CancelJobRun; one that has ended is as it should be."""
        client = clients.get(self.service)
        try:
            call_again(lambda: client.cancel_job_run(**self._names(run_id)), f"{self.service}:CancelJobRun")
        except InvalidRequest:
            run = self.describe(clients, run_id)
            if run is not None and not run.ended and run.state not in {"CANCELLING", "CANCEL_PENDING"}:
                raise

    def _names(self, run_id: str) -> dict[str, str]:
        return {self.place_field: self.where, self.run_field: run_id}

    def logs(self, clients: Clients, run_id: str) -> list[Log]:
        """The driver's logs; those that are not there (yet) are left out."""
        if not self.log_uri:
            return []
        return read_logs(clients, self.log_uri, self.log_folder(run_id))

    def parameters(self, spark: Spark, environment: Mapping[str, str]) -> str:
        """The words between `spark-submit` and the application, quoted as a shell would read them."""
        if spark.python_env and not spark.python_env.endswith((".tar.gz", ".tgz", ".zip")):
            raise InvalidRequest(
                f"python_env: {spark.python_env} would have to be installed on machines that are not ours: give a "
                "packed environment (s3://….tar.gz)"
            )
        conf = {f"{prefix}{name}": value for name, value in environment.items() for prefix in self._prefixes()}
        archives = list(spark.archives)
        if spark.python_env:
            python = f"./{ARCHIVE}/bin/python"
            archives.append(f"{spark.python_env}#{ARCHIVE}")
            conf |= {f"{prefix}PYSPARK_PYTHON": python for prefix in self._prefixes()}
            conf[f"{self.driver}PYSPARK_DRIVER_PYTHON"] = python
        if archives:  # not as --archives, which would stand above what a conf says of it
            conf["spark.archives"] = ",".join(archives)
        conf |= self.image(spark)
        words = ["--class", spark.class_] if spark.class_ else []
        for key, value in {**conf, **spark.conf}.items():
            words += ["--conf", f"{key}={value}"]
        for option, values in (
            ("--packages", spark.packages),
            ("--jars", spark.jars),
            ("--py-files", spark.py_files),
            ("--files", spark.files),
        ):
            words += [option, ",".join(values)] if values else []
        for key, size in (
            ("spark.driver.memory", spark.driver_memory and f"{spark.driver_memory}m"),
            ("spark.driver.cores", spark.driver_cores),
            ("spark.executor.memory", spark.executor_memory and f"{spark.executor_memory}m"),
            ("spark.executor.cores", spark.executor_cores),
            ("spark.executor.instances", spark.num_executors),
        ):
            words += ["--conf", f"{key}={size}"] if size else []
        return shlex.join(words)

    def image(self, spark: Spark) -> dict[str, str]:
        """Properties that choose the image; raises `InvalidRequest` where none can be chosen."""
        return {"spark.kubernetes.container.image": spark.docker_image} if spark.docker_image else {}

    def _prefixes(self) -> tuple[str, str]:
        return self.driver, "spark.executorEnv."


class Serverless(JobRunTarget):
    """An application of EMR Serverless."""

    kind = "emr_serverless"
    service = "emr-serverless"
    place_field, run_field, since_field = "applicationId", "jobRunId", "createdAtAfter"
    submit_field = "sparkSubmit"
    describe_call = ("get_job_run", "GetJobRun")
    driver = "spark.emr-serverless.driverEnv."
    living = ("SUBMITTED", "PENDING", "SCHEDULED", "RUNNING", "CANCELLING", "QUEUED")

    def request(
        self,
        spark: Spark,
        name: str,
        tags: Mapping[str, str],
        environment: Mapping[str, str],
        deadline: int | None = None,
    ) -> dict[str, Any]:
        """StartJobRun's arguments: a run ends itself after the deadline, after 12 hours where there is none."""
        made = super().request(spark, name, tags, environment)
        return {**made, "executionTimeoutMinutes": -(-deadline // 60)} if deadline else made

    def image(self, spark: Spark) -> dict[str, str]:
        """The image is the application's."""
        if spark.docker_image:
            raise InvalidRequest("docker_image: EMR Serverless takes the image of the application: set it there")
        return {}

    def release_label(self, clients: Clients) -> str:
        """The application's: 1 GetApplication."""
        client = clients.get(self.service)
        try:
            answer = call_again(
                lambda: client.get_application(applicationId=self.where), "emr-serverless:GetApplication"
            )
        except InvalidRequest as error:
            raise InvalidRequest(f"on: there is no EMR Serverless application {self.where}: {error}") from error
        return str(answer["application"]["releaseLabel"])

    def log_folder(self, run_id: str) -> str:
        """As EMR Serverless lays it out."""
        return f"applications/{self.where}/jobs/{run_id}/SPARK_DRIVER/"


class Eks(JobRunTarget):
    """A virtual cluster of EMR on EKS."""

    kind = "emr_eks"
    service = "emr-containers"
    place_field, run_field, since_field = "virtualClusterId", "id", "createdAfter"
    submit_field = "sparkSubmitJobDriver"
    describe_call = ("describe_job_run", "DescribeJobRun")
    driver = "spark.kubernetes.driverEnv."
    living = ("PENDING", "SUBMITTED", "RUNNING", "CANCEL_PENDING")

    def request(
        self,
        spark: Spark,
        name: str,
        tags: Mapping[str, str],
        environment: Mapping[str, str],
        deadline: int | None = None,  # noqa: ARG002 - there is no such limit
    ) -> dict[str, Any]:
        """StartJobRun's arguments: the release is the run's own."""
        return {**super().request(spark, name, tags, environment), "releaseLabel": self.release}

    def short(self, name: str) -> str:
        """At most 64 characters; what makes a name unique is at its end."""
        return name[-64:]

    def release_label(self, clients: Clients) -> str:  # noqa: ARG002 - Serverless has to ask
        """As the file says it, in EMR's own words: emr-7.5.0 of emr-7.5.0-latest."""
        return emr_releases.base(self.release or "")

    def log_folder(self, run_id: str) -> str:
        """As EMR on EKS lays it out."""
        return f"{self.where}/jobs/{run_id}/containers/spark-{run_id}/spark-{run_id}-driver/"


def token(name: str) -> str:
    """The client token of an attempt: the same for the same name."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"airflow-batchemr:{name}"))


def plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """What AWS said, as JSON: times become ISO texts."""
    made: dict[str, Any] = json.loads(json.dumps(value, default=str))
    return made
