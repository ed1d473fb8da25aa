"""Translate the states that call AWS Batch and EMR."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file.importers.step_functions import tasks
from airflow_batchemr.pipeline_file.importers.step_functions.clusters import ClusterImport
from airflow_batchemr.pipeline_file.importers.step_functions.failures import heartbeat, retries
from airflow_batchemr.pipeline_file.importers.step_functions.members import Members
from airflow_batchemr.pipeline_file.importers.step_functions.values import (
    Cluster,
    ClusterId,
    Refused,
    Result,
    Unknown,
    UntranslatableError,
)
from airflow_batchemr.pipeline_file.importers.translation import ImportPosition, free_name

if TYPE_CHECKING:
    from airflow_batchemr.pipeline_file.importers.step_functions.failures import Handlers
    from airflow_batchemr.pipeline_file.importers.step_functions.machine import Machine, Upstream, Visit

#: Partition, region and account may be substitutions, such as `${AWS::Partition}`, or `<PARTITION>` in AWS's examples.
_RESOURCE = re.compile(
    r"arn:(?:aws[\w-]*|\$\{[^{}]+\}|<\w+>):states:(?:[\w-]*|\$\{[^{}]+\}):(?:\d*|\$\{[^{}]+\}):"
    r"(?P<service>[\w-]+):(?P<call>\w+)(?P<wait>\.[\w:.]+)?"
)
_BATCH, _EMR = "batch", "elasticmapreduce"
#: Airflow's default connection to AWS.
_DEFAULT_CONNECTION = "aws_default"
_SERVICES = {
    "emr-serverless": "`on: {emr_serverless: …}`",
    "emr-containers": "`on: {emr_eks: …}`",
}
_INSTEAD = {
    "cancelStep": "a job's `deadline` cancels its steps",
    "modifyInstanceFleetByName": "set the size of the cluster, or `managed_scaling`",
    "modifyInstanceGroupByName": "set the size of the cluster, or `managed_scaling`",
}


class Integrations:
    """Translates the tasks of a state machine.

    Args:
        machine: the state machine.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._connections: dict[str, str] = {}
        self._of_clusters: dict[str, str | None] = {}

    def task(self, visit: Visit, handlers: Handlers) -> tuple[Upstream, Any]:
        """Translate a task.

        Returns:
            the jobs that the next state depends on, and the result.

        Raises:
            UntranslatableError: if it is not a task of Batch or EMR, or a parameter cannot be translated.
        """
        resource = _RESOURCE.fullmatch(str(visit.state.get("Resource", "")))
        service, call = (resource["service"], resource["call"]) if resource else ("", "")
        if service not in {_BATCH, _EMR}:
            name = visit.state.constant("Resource", str)
            if name.startswith("${"):
                raise UntranslatableError(f"Resource is the substitution {name}: replace it and import again")
            raise UntranslatableError(
                f"{name} is not supported, only AWS Batch (batch:submitJob) and EMR (elasticmapreduce); write this "
                f"task as a job with {_SERVICES.get(service, '`operator:`')}"
            )
        if resource and resource["wait"] not in {None, ".sync"}:
            raise UntranslatableError(f"{call}{resource['wait']} is not supported, only {call}.sync")
        given = Members(visit.data, ("Parameters",))
        if (service, call) == (_EMR, "createCluster"):
            made = self._cluster(visit, given, handlers)
        elif (service, call) in {(_EMR, "terminateCluster"), (_EMR, "setClusterTerminationProtection")}:
            made = self._of_cluster(visit, given, call)
        else:
            made = self._job(visit, given, handlers, call, waits=resource is not None and resource["wait"] == ".sync")
        self._machine.unread(given, visit.source)
        return made

    def _job(self, visit: Visit, given: Members, handlers: Handlers, call: str, *, waits: bool) -> tuple[Upstream, Any]:
        machine = self._machine
        if call not in {"submitJob", "addStep"}:
            instead = _INSTEAD.get(call)
            raise UntranslatableError(
                f"{call} is not supported in a pipeline file" + (f": {instead}" if instead else "")
            )
        job, place, keys = machine.new_job(visit)
        if call == "submitJob":
            keys |= tasks.batch(given, machine.write, place)
        else:
            emr = tasks.cluster_of(given.get("ClusterId"), machine.write)
            steps = tasks.steps([given.members("Step")], machine.write, place, shared="cluster" in emr)
            keys |= {"emr": emr, "steps": steps} | self._role(given, "ExecutionRoleArn")
        if not waits:
            place.note(
                "Step Functions did not wait for this task (no .sync); downstream jobs now wait until it has finished"
            )
        keys |= retries(visit.state, place)
        if connection := self._connection(visit, place):
            keys["aws_conn_id"] = connection
        machine.jobs[job] = keys
        return handlers.after(visit, {job: "succeeded"}), Result(visit.name)

    def _role(self, given: Members, name: str) -> dict[str, str]:
        """The runtime role of steps."""
        return {"execution_role": self._machine.write.text(given.get(name), name)} if name in given else {}

    def _connection(self, visit: Visit, place: ImportPosition) -> str | None:
        """The Airflow connection for the role that a state assumes; None if it assumes none."""
        credentials = visit.state.members("Credentials")
        if "RoleArn" not in credentials:
            return None
        role = self._machine.write.literal(credentials.constant("RoleArn", str))
        connection = self._connections.get(role)
        if connection is None:
            name = re.sub(r"\W+", "-", role.rpartition("/")[2]).strip("-")
            connection = free_name(f"aws-{name}", list(self._connections.values()))
            self._connections[role] = connection
        place.at("aws_conn_id", source=["Credentials"]).note(
            f"the state assumed the role {role}: create the Airflow connection {connection} of type aws, with "
            "`role_arn` in its extra fields. The role also needs access to the state URI"
        )
        return connection

    def _cluster(self, visit: Visit, given: Members, handlers: Handlers) -> tuple[Upstream, Any]:
        machine = self._machine
        cluster = free_name(visit.name + visit.suffix, {*machine.jobs, *machine.clusters})
        place = ImportPosition(machine.top.translation, (*machine.top.path, "clusters", cluster), visit.source)
        place.mark()
        machine.clusters[cluster] = ClusterImport(given, machine.write, place).cluster()
        self._of_clusters[cluster] = self._connection(visit, place)
        for name, instead in (
            ("Retry", "the task that creates the cluster is retried after failures of the platform"),
            ("TimeoutSeconds", "the time in which the cluster starts is not limited"),
        ):
            if name in visit.state:
                visit.state.skip(name)
                place.at(source=[name]).note(f"{name} of {visit.name} is omitted: {instead}")
        heartbeat(visit.state, place)
        upstream = handlers.after(visit, visit.upstream, of_jobs=False)
        if steps := given.items("Steps"):
            job, at, keys = machine.new_job(visit, "-steps")
            keys |= {"emr": {"cluster": cluster}, "steps": tasks.steps(steps, machine.write, at, shared=True)}
            keys |= self._role(given, "StepExecutionRoleArn")
            if connection := self._of_clusters[cluster]:
                keys["aws_conn_id"] = connection
            machine.jobs[job] = keys
            upstream = {job: "succeeded"}
        return upstream, Cluster(cluster)

    def _of_cluster(self, visit: Visit, given: Members, call: str) -> tuple[Upstream, Any]:
        """Translate a call about a cluster of the state machine, which needs no job."""
        machine = self._machine
        cluster = given.get("ClusterId")
        if isinstance(cluster, Refused | Unknown | Result):
            machine.write.text(cluster, "ClusterId")
        if not isinstance(cluster, ClusterId):
            raise UntranslatableError(f"{call} refers to a cluster that this state machine has not created")
        if call == "setClusterTerminationProtection":
            protected = given.constant("TerminationProtected", bool)
            if protected:
                machine.clusters[cluster.name]["termination_protection"] = True
            machine.top.at("clusters", cluster.name, source=visit.source).note(
                f"{visit.name}: termination protection "
                + ("is enabled from the start of the cluster" if protected else "is removed with the cluster")
            )
        for name in ("Retry", "Catch", "TimeoutSeconds"):
            if name in visit.state:
                machine.top.at("clusters", cluster.name, source=(*visit.source, name)).note(
                    f"{name} of {visit.name} is omitted: it concerned a call that a task of the cluster makes now"
                )
        visit.state.skip("Retry", "Catch", "TimeoutSeconds", "Credentials")
        return visit.upstream, {}

    def finish(self, pipeline: dict[str, Any]) -> None:
        """Set the connection of the pipeline, which is that of its clusters.

        A job has its own connection, and a cluster has not.
        """
        connections = set(self._of_clusters.values())
        if len(connections) > 1:
            self._machine.problem(("States",), "the clusters of a pipeline cannot have different Credentials")
        if connection := next(iter(connections), None):
            pipeline["aws_conn_id"] = connection
            for job in self._machine.jobs.values():
                if "operator" not in job and job.setdefault("aws_conn_id", _DEFAULT_CONNECTION) == connection:
                    del job["aws_conn_id"]
