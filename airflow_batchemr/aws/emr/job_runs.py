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
from airflow_batchemr.aws.errors import InvalidRequest
from airflow_batchemr.aws.retry import call_again
from airflow_batchemr.core.spark import ARCHIVE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.core.emr_diagnosis import Log
    from airflow_batchemr.ledger.records import Kind
    from airflow_batchemr.spec.models import Spark

    Texts = Mapping[str, str]

_SKEW = timedelta(minutes=10)


@dataclass(frozen=True)
class JobRun:
    """What AWS says of a job run."""

    run_id: str
    name: str
    state: str
    reason: str = ""
    said: dict[str, Any] = field(default_factory=dict, compare=False, hash=False)

    @property
    def succeeded(self) -> bool:
        """Whether it has ended well."""
        return self.state in {"SUCCESS", "COMPLETED"}

    @property
    def ended(self) -> bool:
        """Whether nothing changes any more."""
        return self.succeeded or self.state in {"FAILED", "CANCELLED"}


@dataclass(frozen=True)
class Place(ABC):
    """Where job runs are started; subclasses are the two services."""

    where: str
    """Application id, or virtual cluster id."""
    role: str
    """ARN of the IAM role of the run."""
    release: str | None = None
    log_uri: str | None = None

    kind: ClassVar[Kind]
    service: ClassVar[str]
    action: ClassVar[str]
    driver: ClassVar[str]
    """Prefix of Spark's property that sets a variable of the driver."""
    living: ClassVar[Sequence[str]]
    """States in which a run has not ended."""

    @abstractmethod
    def request(
        self, spark: Spark, name: str, tags: Mapping[str, str], environment: Mapping[str, str]
    ) -> dict[str, Any]:
        """StartJobRun's arguments; raises `InvalidRequest` for words that the service has no counterpart of."""

    @abstractmethod
    def describe(self, clients: Clients, run_id: str) -> JobRun | None:
        """One run; None where AWS does not know it."""

    @abstractmethod
    def listed(self, clients: Clients, **arguments: Any) -> list[JobRun]:
        """Runs of the place, by ListJobRuns' arguments."""

    @abstractmethod
    def cancel(self, clients: Clients, run_id: str) -> None:
        """CancelJobRun; one that has ended is as it should be."""

    @abstractmethod
    def log_folder(self, run_id: str) -> str:
        """The folder of the driver's logs below the log URI."""

    def start(self, clients: Clients, request: dict[str, Any]) -> str:
        """StartJobRun; its client token makes a second call with the same request the same run."""
        client = clients.get(self.service)
        answer = call_again(lambda: client.start_job_run(**request), f"{self.action}:StartJobRun")
        return str(answer.get("jobRunId") or answer["id"])

    def find(self, clients: Clients, name: str, since: datetime) -> str | None:
        """The run of a name that was started after `since`."""
        found = [run for run in self.listed(clients, createdAfter=since - _SKEW) if run.name == name]
        return found[-1].run_id if found else None

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
        if spark.python_env:
            python = f"./{ARCHIVE}/bin/python"
            conf["spark.archives"] = f"{spark.python_env}#{ARCHIVE}"
            conf |= {f"{prefix}PYSPARK_PYTHON": python for prefix in self._prefixes()}
            conf[f"{self.driver}PYSPARK_DRIVER_PYTHON"] = python
        conf |= self.image(spark)
        words = ["--class", spark.class_] if spark.class_ else []
        for key, value in {**conf, **spark.conf}.items():
            words += ["--conf", f"{key}={value}"]
        for option, values in (
            ("--packages", spark.packages),
            ("--jars", spark.jars),
            ("--py-files", spark.py_files),
            ("--files", spark.files),
            ("--archives", spark.archives),
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


class Serverless(Place):
    """An application of EMR Serverless."""

    kind = "emr_serverless"
    service = "emr-serverless"
    action = "emr-serverless"
    driver = "spark.emr-serverless.driverEnv."
    living = ("SUBMITTED", "PENDING", "SCHEDULED", "RUNNING", "CANCELLING", "QUEUED")

    def request(
        self, spark: Spark, name: str, tags: Mapping[str, str], environment: Mapping[str, str]
    ) -> dict[str, Any]:
        """StartJobRun's arguments."""
        submit: dict[str, Any] = {"entryPoint": spark.py or spark.jar, "entryPointArguments": list(spark.args)}
        if parameters := self.parameters(spark, environment):
            submit["sparkSubmitParameters"] = parameters
        made: dict[str, Any] = {
            "applicationId": self.where,
            "clientToken": token(name),
            "executionRoleArn": self.role,
            "name": name,
            "jobDriver": {"sparkSubmit": submit},
            "tags": dict(tags),
        }
        if self.log_uri:
            monitoring = {"s3MonitoringConfiguration": {"logUri": self.log_uri}}
            made["configurationOverrides"] = {"monitoringConfiguration": monitoring}
        return made

    def image(self, spark: Spark) -> dict[str, str]:
        """The image is the application's."""
        if spark.docker_image:
            raise InvalidRequest("docker_image: EMR Serverless takes the image of the application: set it there")
        return {}

    def describe(self, clients: Clients, run_id: str) -> JobRun | None:
        """GetJobRun."""
        client = clients.get(self.service)
        try:
            answer = call_again(
                lambda: client.get_job_run(applicationId=self.where, jobRunId=run_id), "emr-serverless:GetJobRun"
            )
        except InvalidRequest:
            return None
        return self._run(answer["jobRun"], "jobRunId")

    def listed(self, clients: Clients, **arguments: Any) -> list[JobRun]:
        """ListJobRuns, newest first."""
        if "createdAfter" in arguments:
            arguments["createdAtAfter"] = arguments.pop("createdAfter")
        client = clients.get(self.service)
        pages = client.get_paginator("list_job_runs").paginate(applicationId=self.where, **arguments)
        found = call_again(lambda: [run for page in pages for run in page["jobRuns"]], "emr-serverless:ListJobRuns")
        return [self._run(run, "id") for run in found]

    def cancel(self, clients: Clients, run_id: str) -> None:
        """CancelJobRun."""
        client = clients.get(self.service)
        try:
            call_again(
                lambda: client.cancel_job_run(applicationId=self.where, jobRunId=run_id), "emr-serverless:CancelJobRun"
            )
        except InvalidRequest:
            return

    def log_folder(self, run_id: str) -> str:
        """As EMR Serverless lays it out."""
        return f"applications/{self.where}/jobs/{run_id}/SPARK_DRIVER/"

    @staticmethod
    def _run(said: Mapping[str, Any], key: str) -> JobRun:
        return JobRun(said[key], said.get("name", ""), said["state"], said.get("stateDetails", ""), plain(said))


class Eks(Place):
    """A virtual cluster of EMR on EKS."""

    kind = "emr_eks"
    service = "emr-containers"
    action = "emr-containers"
    driver = "spark.kubernetes.driverEnv."
    living = ("PENDING", "SUBMITTED", "RUNNING", "CANCEL_PENDING")

    def request(
        self, spark: Spark, name: str, tags: Mapping[str, str], environment: Mapping[str, str]
    ) -> dict[str, Any]:
        """StartJobRun's arguments."""
        submit: dict[str, Any] = {"entryPoint": spark.py or spark.jar, "entryPointArguments": list(spark.args)}
        if parameters := self.parameters(spark, environment):
            submit["sparkSubmitParameters"] = parameters
        made: dict[str, Any] = {
            "virtualClusterId": self.where,
            "clientToken": token(name),
            "executionRoleArn": self.role,
            "releaseLabel": self.release,
            "name": name[-64:],  # EMR on EKS: a name has at most 64 characters; what makes it unique is at its end
            "jobDriver": {"sparkSubmitJobDriver": submit},
            "tags": dict(tags),
        }
        if self.log_uri:
            monitoring = {"s3MonitoringConfiguration": {"logUri": self.log_uri}}
            made["configurationOverrides"] = {"monitoringConfiguration": monitoring}
        return made

    def describe(self, clients: Clients, run_id: str) -> JobRun | None:
        """DescribeJobRun."""
        client = clients.get(self.service)
        try:
            answer = call_again(
                lambda: client.describe_job_run(virtualClusterId=self.where, id=run_id), "emr-containers:DescribeJobRun"
            )
        except InvalidRequest:
            return None
        return self._run(answer["jobRun"])

    def listed(self, clients: Clients, **arguments: Any) -> list[JobRun]:
        """ListJobRuns, newest first."""
        client = clients.get(self.service)
        pages = client.get_paginator("list_job_runs").paginate(virtualClusterId=self.where, **arguments)
        found = call_again(lambda: [run for page in pages for run in page["jobRuns"]], "emr-containers:ListJobRuns")
        return [self._run(run) for run in found]

    def find(self, clients: Clients, name: str, since: datetime) -> str | None:
        """By the name as it was sent."""
        return super().find(clients, name[-64:], since)

    def cancel(self, clients: Clients, run_id: str) -> None:
        """CancelJobRun."""
        client = clients.get(self.service)
        try:
            call_again(
                lambda: client.cancel_job_run(virtualClusterId=self.where, id=run_id), "emr-containers:CancelJobRun"
            )
        except InvalidRequest:
            return

    def log_folder(self, run_id: str) -> str:
        """As EMR on EKS lays it out."""
        return f"{self.where}/jobs/{run_id}/containers/spark-{run_id}/spark-{run_id}-driver/"

    @staticmethod
    def _run(said: Mapping[str, Any]) -> JobRun:
        reason = ": ".join(word for word in (said.get("failureReason"), said.get("stateDetails")) if word)
        return JobRun(said["id"], said.get("name", ""), said["state"], reason, plain(said))


def token(name: str) -> str:
    """The client token of an attempt: the same for the same name."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"airflow-batchemr:{name}"))


def plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """What AWS said, as JSON: times become ISO texts."""
    made: dict[str, Any] = json.loads(json.dumps(value, default=str))
    return made
