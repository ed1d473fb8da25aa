"""Operations of EMR."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_batchemr.local.emr import describe, limits
from airflow_batchemr.local.emr.instances import status_of
from airflow_batchemr.local.emr.releases import RELEASES, applications
from airflow_batchemr.local.emr.state import CLUSTER_ENDED, Cluster, Step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_batchemr.local.emr.clusters import Clusters
    from airflow_batchemr.local.protocol import AwsError, Call, Operation
    from airflow_batchemr.local.visibility import Visibility

__all__ = ["EmrService"]

#: Page size of ListClusters and ListSteps.
PAGE = 50
Item = TypeVar("Item")


class EmrService:
    """Implements the EMR API with `Clusters`."""

    def __init__(self, clusters: Clusters, visibility: Visibility) -> None:
        self.clusters = clusters
        self._visibility = visibility
        self.operations: Mapping[str, Operation] = {
            "RunJobFlow": self.run_job_flow,
            "DescribeCluster": self.describe_cluster,
            "ListClusters": self.list_clusters,
            "ModifyCluster": self.modify_cluster,
            "TerminateJobFlows": self.terminate_job_flows,
            "SetTerminationProtection": self.set_termination_protection,
            "SetVisibleToAllUsers": self.set_visible_to_all_users,
            "SetKeepJobFlowAliveWhenNoSteps": self.set_keep_job_flow_alive_when_no_steps,
            "AddJobFlowSteps": self.add_job_flow_steps,
            "ListSteps": self.list_steps,
            "DescribeStep": self.describe_step,
            "CancelSteps": self.cancel_steps,
            "AddTags": self.add_tags,
            "RemoveTags": self.remove_tags,
            "DescribeReleaseLabel": self.describe_release_label,
            "ListReleaseLabels": self.list_release_labels,
            "ListInstanceGroups": self.list_instance_groups,
            "ListInstanceFleets": self.list_instance_fleets,
            "ListInstances": self.list_instances,
            "ListBootstrapActions": self.list_bootstrap_actions,
            "PutAutoTerminationPolicy": self.put_auto_termination_policy,
            "GetAutoTerminationPolicy": self.get_auto_termination_policy,
            "RemoveAutoTerminationPolicy": self.remove_auto_termination_policy,
            "PutManagedScalingPolicy": self.put_managed_scaling_policy,
            "GetManagedScalingPolicy": self.get_managed_scaling_policy,
            "RemoveManagedScalingPolicy": self.remove_managed_scaling_policy,
        }

    def cluster(self, cluster_id: str) -> Cluster:
        """Return a cluster by id.

        Raises:
            AwsError: The cluster does not exist.
        """
        cluster = self.clusters.clusters.get(cluster_id)
        if cluster is None:
            raise _no_cluster(cluster_id)
        return cluster

    def _visible_cluster(self, cluster_id: str) -> Cluster:
        cluster = self.cluster(cluster_id)
        if self._hidden(cluster):
            raise _no_cluster(cluster_id)
        return cluster

    def _job_flow(self, cluster_id: str) -> Cluster:
        """Return a cluster for the older operations, which have no InvalidRequestException.

        Raises:
            AwsError: The cluster does not exist. Message: github.com/raster-foundry/raster-foundry/issues/352.
        """
        cluster = self.clusters.clusters.get(cluster_id)
        if cluster is None:
            raise limits.refuse("Specified job flow ID does not exist.")
        return cluster

    def _hidden(self, resource: Cluster | Step) -> bool:
        return self._visibility.hides(resource.id, resource.created.timestamp())

    @staticmethod
    def _live(cluster: Cluster) -> Cluster:
        if cluster.state in CLUSTER_ENDED:
            raise limits.refuse(
                f"A job flow that is shutting down, terminated, or finished may not be modified: {cluster.id}"
            )
        return cluster

    # Clusters

    def run_job_flow(self, call: Call) -> dict[str, Any]:
        """RunJobFlow."""
        limits.check_run_job_flow(call.params)
        cluster = self.clusters.add(call.params, call.region)
        return {"JobFlowId": cluster.id, "ClusterArn": cluster.arn}

    def describe_cluster(self, call: Call) -> dict[str, Any]:
        """DescribeCluster."""
        with self.clusters.lock:
            return {"Cluster": describe.cluster_detail(self._visible_cluster(call.params["ClusterId"]))}

    def list_clusters(self, call: Call) -> dict[str, Any]:
        """ListClusters, newest first."""
        params = call.params
        after, before = _when(params.get("CreatedAfter")), _when(params.get("CreatedBefore"))
        states = params.get("ClusterStates", [])
        with self.clusters.lock:
            found = [
                cluster
                for cluster in reversed(self.clusters.clusters.values())
                if (not states or cluster.state in states)
                and not self._hidden(cluster)
                and (after is None or cluster.created >= after)
                and (before is None or cluster.created <= before)
            ]
            listed, marker = _page(found, [cluster.id for cluster in found], params.get("Marker"))
            return {"Clusters": [describe.cluster_entry(cluster) for cluster in listed], **marker}

    def modify_cluster(self, call: Call) -> dict[str, Any]:
        """ModifyCluster: the step concurrency."""
        with self.clusters.lock:
            cluster = self._live(self.cluster(call.params["ClusterId"]))
            level = call.params.get("StepConcurrencyLevel", cluster.concurrency)
            limits.check_concurrency(level, cluster.release)
            cluster.concurrency = level
            self.clusters.advance(cluster)
        return {"StepConcurrencyLevel": level}

    def terminate_job_flows(self, call: Call) -> dict[str, Any]:
        """TerminateJobFlows; protected clusters refuse."""
        if len(call.params["JobFlowIds"]) > 10:
            raise limits.refuse(f"JobFlowIds must have at most 10 entries, not {len(call.params['JobFlowIds'])}")
        with self.clusters.lock:
            clusters = [self._job_flow(cluster_id) for cluster_id in call.params["JobFlowIds"]]
            if any(cluster.protected and cluster.state not in CLUSTER_ENDED for cluster in clusters):
                raise limits.refuse("Could not shut down one or more job flows since they are termination protected.")
            for cluster in clusters:
                self.clusters.terminate(cluster)
        return {}

    def set_termination_protection(self, call: Call) -> dict[str, Any]:
        """SetTerminationProtection."""
        with self.clusters.lock:
            for cluster_id in call.params["JobFlowIds"]:
                cluster = self._live(self._job_flow(cluster_id))
                cluster.protected = call.params["TerminationProtected"]
                self.clusters.advance(cluster)
        return {}

    def set_visible_to_all_users(self, call: Call) -> dict[str, Any]:
        """SetVisibleToAllUsers."""
        with self.clusters.lock:
            for cluster_id in call.params["JobFlowIds"]:
                self._live(self._job_flow(cluster_id)).visible = call.params["VisibleToAllUsers"]
        return {}

    def set_keep_job_flow_alive_when_no_steps(self, call: Call) -> dict[str, Any]:
        """SetKeepJobFlowAliveWhenNoSteps."""
        with self.clusters.lock:
            for cluster_id in call.params["JobFlowIds"]:
                cluster = self._live(self._job_flow(cluster_id))
                cluster.keep_alive = call.params["KeepJobFlowAliveWhenNoSteps"]
                self.clusters.advance(cluster)
        return {}

    # Steps

    def add_job_flow_steps(self, call: Call) -> dict[str, Any]:
        """AddJobFlowSteps."""
        with self.clusters.lock:
            cluster = self._job_flow(call.params["JobFlowId"])
            limits.check_room_for_steps(cluster, len(call.params["Steps"]))
            limits.check_steps(call.params["Steps"], cluster.concurrency)
            return {"StepIds": self.clusters.add_steps(cluster, call.params["Steps"])}

    def list_steps(self, call: Call) -> dict[str, Any]:
        """ListSteps, newest first."""
        params = call.params
        ids, states = params.get("StepIds", []), params.get("StepStates", [])
        if len(ids) > 10:
            raise limits.refuse(f"StepIds must have at most 10 entries, not {len(ids)}")
        if ids and states:
            raise limits.invalid("StepIds and StepStates may not be given together")
        with self.clusters.lock:
            cluster = self._visible_cluster(params["ClusterId"])
            found = [
                step
                for step in reversed(cluster.steps)
                if (not ids or step.id in ids) and (not states or step.state in states) and not self._hidden(step)
            ]
            listed, marker = _page(found, [step.id for step in found], params.get("Marker"))
            return {"Steps": [describe.step_detail(step) for step in listed], **marker}

    def describe_step(self, call: Call) -> dict[str, Any]:
        """DescribeStep."""
        with self.clusters.lock:
            step = self._step(self._visible_cluster(call.params["ClusterId"]).id, call.params["StepId"])
            if self._hidden(step):
                raise limits.invalid(f"Step id '{step.id}' is not valid.")
            return {"Step": describe.step_detail(step)}

    def cancel_steps(self, call: Call) -> dict[str, Any]:
        """CancelSteps."""
        params = call.params
        if not 1 <= len(params["StepIds"]) <= 256:
            raise limits.refuse(f"StepIds must have 1 to 256 entries, not {len(params['StepIds'])}")
        kill = params.get("StepCancellationOption") == "TERMINATE_PROCESS"
        answers = []
        with self.clusters.lock:
            cluster = self.cluster(params["ClusterId"])
            for step in [self._step(cluster.id, step_id) for step_id in params["StepIds"]]:
                reason = self.clusters.cancel_step(cluster, step, kill=kill)
                answer = {"StepId": step.id, "Status": "SUBMITTED" if reason is None else "FAILED"}
                answers.append(answer if reason is None else {**answer, "Reason": reason})
        return {"CancelStepsInfoList": answers}

    def _step(self, cluster_id: str, step_id: str) -> Step:
        for step in self.cluster(cluster_id).steps:
            if step.id == step_id:
                return step
        raise limits.invalid(f"Step id '{step_id}' is not valid.")

    # Tags

    def add_tags(self, call: Call) -> dict[str, Any]:
        """AddTags."""
        with self.clusters.lock:
            tags = self.cluster(call.params["ResourceId"]).tags
            new = call.params["Tags"]
            limits.check_tags(new, len(tags.keys() - {tag.get("Key") for tag in new}))
            tags.update({tag["Key"]: tag.get("Value", "") for tag in new})
        return {}

    def remove_tags(self, call: Call) -> dict[str, Any]:
        """RemoveTags."""
        with self.clusters.lock:
            tags = self.cluster(call.params["ResourceId"]).tags
            for key in call.params["TagKeys"]:
                tags.pop(key, None)
        return {}

    # Releases

    def describe_release_label(self, call: Call) -> dict[str, Any]:
        """DescribeReleaseLabel."""
        label = call.params.get("ReleaseLabel", next(iter(RELEASES)))
        if label not in RELEASES:
            raise limits.invalid(f"The supplied release label is invalid: {label}.")
        return {"ReleaseLabel": label, "Applications": applications(label)}

    def list_release_labels(self, call: Call) -> dict[str, Any]:
        """ListReleaseLabels, newest first."""
        filters = call.params.get("Filters", {})
        name, _, version = filters.get("Application", "").partition("-")
        found = [
            label
            for label, versions in RELEASES.items()
            if label.startswith(filters.get("Prefix", ""))
            and (
                not name or any(each.lower() == name.lower() for each in versions if versions[each].startswith(version))
            )
        ]
        return {"ReleaseLabels": found}

    # Instances

    def list_instance_groups(self, call: Call) -> dict[str, Any]:
        """ListInstanceGroups."""
        with self.clusters.lock:
            cluster = self._visible_cluster(call.params["ClusterId"])
            if cluster.fleets:
                raise limits.invalid(
                    "Instance fleets and instance groups are mutually exclusive. The cluster has fleets."
                )
            status = status_of(cluster, "GROUP")
            return {"InstanceGroups": [{**group, "Status": status} for group in cluster.groups]}

    def list_instance_fleets(self, call: Call) -> dict[str, Any]:
        """ListInstanceFleets."""
        with self.clusters.lock:
            cluster = self._visible_cluster(call.params["ClusterId"])
            if cluster.groups:
                raise limits.invalid(
                    "Instance fleets and instance groups are mutually exclusive. The cluster has groups."
                )
            status = status_of(cluster, "FLEET")
            return {"InstanceFleets": [{**fleet, "Status": status} for fleet in cluster.fleets]}

    def list_instances(self, call: Call) -> dict[str, Any]:
        """ListInstances."""
        params = call.params
        with self.clusters.lock:
            cluster = self._visible_cluster(params["ClusterId"])
            kinds = set(params.get("InstanceGroupTypes", []))
            groups = {group["Id"] for group in cluster.groups if not kinds or group["InstanceGroupType"] in kinds}
            fleet_type = params.get("InstanceFleetType")
            fleets = {fleet["Id"] for fleet in cluster.fleets if fleet_type in (None, fleet["InstanceFleetType"])}
            status = status_of(cluster, "INSTANCE")
            found = [
                {**instance, "Status": status}
                for instance in cluster.instances
                if instance.get("InstanceGroupId", instance.get("InstanceFleetId")) in groups | fleets
                and params.get("InstanceGroupId") in (None, instance.get("InstanceGroupId"))
                and params.get("InstanceFleetId") in (None, instance.get("InstanceFleetId"))
                and (not params.get("InstanceStates") or status["State"] in params["InstanceStates"])
            ]
            listed, marker = _page(found, [instance["Id"] for instance in found], params.get("Marker"))
            return {"Instances": listed, **marker}

    def list_bootstrap_actions(self, call: Call) -> dict[str, Any]:
        """ListBootstrapActions."""
        with self.clusters.lock:
            actions = self._visible_cluster(call.params["ClusterId"]).request.get("BootstrapActions", [])
        return {
            "BootstrapActions": [
                {
                    "Name": action["Name"],
                    "ScriptPath": action["ScriptBootstrapAction"]["Path"],
                    "Args": action["ScriptBootstrapAction"].get("Args", []),
                }
                for action in actions
            ]
        }

    # Policies

    def put_auto_termination_policy(self, call: Call) -> dict[str, Any]:
        """PutAutoTerminationPolicy."""
        policy = call.params.get("AutoTerminationPolicy")
        limits.check_auto_termination(policy, self._live(self.cluster(call.params["ClusterId"])).release)
        return self._set_policy(call, "auto_termination", policy)

    def get_auto_termination_policy(self, call: Call) -> dict[str, Any]:
        """GetAutoTerminationPolicy."""
        policy = self.cluster(call.params["ClusterId"]).auto_termination
        return {} if policy is None else {"AutoTerminationPolicy": policy}

    def remove_auto_termination_policy(self, call: Call) -> dict[str, Any]:
        """RemoveAutoTerminationPolicy."""
        return self._set_policy(call, "auto_termination", None)

    def put_managed_scaling_policy(self, call: Call) -> dict[str, Any]:
        """PutManagedScalingPolicy. The policy is stored, but nothing scales here."""
        cluster, policy = self._live(self.cluster(call.params["ClusterId"])), call.params["ManagedScalingPolicy"]
        limits.check_managed_scaling(policy, cluster.release, fleets=bool(cluster.fleets))
        return self._set_policy(call, "managed_scaling", policy)

    def get_managed_scaling_policy(self, call: Call) -> dict[str, Any]:
        """GetManagedScalingPolicy."""
        policy = self.cluster(call.params["ClusterId"]).managed_scaling
        return {} if policy is None else {"ManagedScalingPolicy": policy}

    def remove_managed_scaling_policy(self, call: Call) -> dict[str, Any]:
        """RemoveManagedScalingPolicy."""
        return self._set_policy(call, "managed_scaling", None)

    def _set_policy(self, call: Call, name: str, policy: dict[str, Any] | None) -> dict[str, Any]:
        with self.clusters.lock:
            cluster = self._live(self.cluster(call.params["ClusterId"]))
            setattr(cluster, name, policy)
            self.clusters.advance(cluster)
        return {}


def _no_cluster(cluster_id: str) -> AwsError:
    return limits.invalid(f"Cluster id '{cluster_id}' is not valid.", {"ErrorCode": "NoSuchCluster"})


def _when(value: Any) -> datetime | None:
    """Parse a time of a request: seconds since the epoch in this protocol."""
    return None if value is None else datetime.fromtimestamp(float(value), timezone.utc)


def _page(items: Sequence[Item], ids: list[str], marker: str | None) -> tuple[Sequence[Item], dict[str, str]]:
    """Return a page and the marker of the next one, which is the id of the page's last entry."""
    if marker is not None and marker not in ids:
        raise limits.invalid("Marker is not valid.")
    start = ids.index(marker) + 1 if marker is not None else 0
    listed = items[start : start + PAGE]
    return listed, {"Marker": ids[start + PAGE - 1]} if start + PAGE < len(items) else {}
