"""Backends for a forecast. They replace lookups of resources that exist only during the run.

In a forecast without AWS (`online` is False), resources are not looked up and assumed to exist.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.batch.backend import BatchBackend
from airflow_batchemr.aws.batch.definitions import definition_request
from airflow_batchemr.aws.emr.existing_cluster import ExistingCluster
from airflow_batchemr.aws.emr.job_run import JobRunBackend
from airflow_batchemr.aws.emr.own_cluster import OwnCluster
from airflow_batchemr.aws.emr.running_cluster import running_cluster
from airflow_batchemr.aws.emr.shared_cluster import SharedCluster
from airflow_batchemr.core.arrays import split
from airflow_batchemr.core.errors import InvalidRequest, NotAllowed
from airflow_batchemr.forecast.clients import ForecastWriteError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_batchemr.core.indices import IndexSet

#: Placeholders for values that exist once the cluster has started.
WHEN_UP = "(when it is up)"
CLUSTER_ID = "(the cluster's id)"
#: Placeholder for the command of a job definition that was not looked up.
OWN_COMMAND = "(the job definition's command)"


@dataclass(kw_only=True)
class ForecastBatch(BatchBackend):
    """See the module.

    Attributes:
        online: whether AWS may be asked.
        register: The RegisterJobDefinition request of the run; None if there is none.
        notes: What is unknown before the run.
    """

    online: bool = field(default=True, init=False)
    register: dict[str, Any] | None = field(default=None, init=False)
    notes: list[str] = field(default_factory=list, init=False)

    def definition(self) -> Mapping[str, Any]:
        """Return the definition that the run would find. One that it would register has its name instead of its ARN."""
        if self.online:
            try:
                return super().definition()
            except ForecastWriteError as error:
                return self._registered(error.request)
            except NotAllowed as error:
                self.notes.append(f"queue and job definition were not checked: {error}")
        if self.options.registered_definition is not None:
            self.notes.append(f"the job definition {self.options.registered_definition} was not looked up")
            own: dict[str, Any] = {"containerProperties": {"command": [OWN_COMMAND]}}
            if (name := self.options.container) is not None:  # containers with names are those of tasks, mostly
                one = {"name": name, "command": [OWN_COMMAND]}
                own = {"ecsProperties": {"taskProperties": [{"containers": [one]}]}}
            return {"jobDefinitionArn": self.options.registered_definition, **own}
        return self._registered(definition_request(self.options))

    def _registered(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.register = dict(request)
        return {**request, "jobDefinitionArn": request["jobDefinitionName"]}

    def parts_after(self, job: str, indices: IndexSet) -> list[tuple[IndexSet, str | None]]:
        """Return the parts that can be submitted now; if there are none, all indices, after a job without an id."""
        parts = super().parts_after(job, indices) if self.online else []
        if parts:
            return parts
        self.notes.append(f"each index runs after that of {job}, which has not been submitted yet")
        return [(part, f"(the job of {job})") for part in split(indices)]

    def cluster_environment(self, cluster: str) -> dict[str, str]:
        """Return the address of the cluster if it is up, else placeholders."""
        if self.online:
            try:
                return super().cluster_environment(cluster)
            except InvalidRequest:  # a task before this one starts it
                pass
        return dict.fromkeys(("EMR_CLUSTER_ID", "EMR_MASTER"), WHEN_UP)


@dataclass(kw_only=True)
class ForecastOwnCluster(OwnCluster):
    """See the module.

    Attributes:
        online: whether AWS may be asked.
    """

    online: bool = field(default=True, init=False)

    def prepare(self, request: Mapping[str, Any]) -> None:
        """Check that EMR provides what the request requires."""
        if self.online:
            super().prepare(request)


@dataclass(kw_only=True)
class ForecastSharedCluster(SharedCluster):
    """See the module.

    Attributes:
        online: whether AWS may be asked.
    """

    online: bool = field(default=True, init=False)

    def prepare(self, request: Mapping[str, Any]) -> None:
        """Check that EMR provides what the request requires."""
        if self.online:
            super().prepare(request)


@dataclass(kw_only=True)
class ForecastExistingCluster(ExistingCluster):
    """See the module.

    Attributes:
        online: whether AWS may be asked.
    """

    online: bool = field(default=True, init=False)

    def find_cluster(self) -> tuple[str, int]:
        """Return the cluster, or a placeholder if a task of this run starts it."""
        if (self.online and self.cluster is None) or (self.cluster is not None and self._up(self.cluster)):
            return super().find_cluster()
        return self.cluster_id or CLUSTER_ID, 1

    def _up(self, cluster: str) -> bool:
        if not self.online:
            return False
        try:
            running_cluster(self.clients, self.identity, cluster)
        except InvalidRequest:
            return False
        return True


@dataclass(kw_only=True)
class ForecastJobRun(JobRunBackend):
    """See the module.

    Attributes:
        online: whether AWS may be asked.
    """

    online: bool = field(default=True, init=False)

    def check_release(self) -> None:
        """Check the release of the target."""
        if self.online:
            super().check_release()
