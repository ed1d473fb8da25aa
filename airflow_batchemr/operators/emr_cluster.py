"""Setup and teardown of a cluster that other tasks of the run use."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import TriggerRule
from airflow.sdk.exceptions import AirflowException

from airflow_batchemr import settings
from airflow_batchemr.aws.emr import clusters
from airflow_batchemr.aws.emr.options import cluster_options, needs_options, owner_tag
from airflow_batchemr.aws.emr.shared_cluster import SharedCluster, all_succeeded, up_document
from airflow_batchemr.aws.errors import InvalidRequest
from airflow_batchemr.aws.outage import FAILURES, passing
from airflow_batchemr.connections import as_airflow_error
from airflow_batchemr.engine.submissions import adopt, conclude
from airflow_batchemr.operators.emr_base import EmrOperator
from airflow_batchemr.operators.ledger_access import LedgerAccess
from airflow_batchemr.operators.options import check_when_parsed, unresolved
from airflow_batchemr.operators.outages import defer_until_reachable
from airflow_batchemr.operators.rerun import rerun_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow.sdk import BaseOperator, Context
    from typing_extensions import Self

    from airflow_batchemr.engine.outcome import Outcome
    from airflow_batchemr.engine.policy import Policy
    from airflow_batchemr.ledger import LedgerState, Submission

#: Seconds between two checks of a cluster that another process may be starting.
PAUSE = 3.0


class EmrCreateClusterOperator(EmrOperator):
    """Starts an EMR cluster for other tasks of the run and waits until it is up. A setup task.

    Its XCom is `{"cluster_id": …, "master": …}`, or None if no job needs the cluster.

    Args:
        cluster: the options of `emr:`: type, instances, release, …
        used_by: ledger names of the jobs that use it. If all of them have markers, no cluster is started.
        needs: what their steps need from it: lists of `applications`, `python_env` and `docker_image`, and `requires`
            with versions. They are checked, and installed if necessary, when the cluster starts.
        **kwargs: of `EmrOperator`; `job` is the cluster's name in the ledger.
    """

    template_fields: Sequence[str] = (*EmrOperator.template_fields, "cluster", "used_by", "needs")
    template_fields_renderers = {"cluster": "json", "needs": "json"}  # noqa: RUF012 - Airflow's own form
    stops_when_cleared = False  # the next try can use a cluster that is up

    def __init__(
        self,
        *,
        cluster: dict[str, Any],
        used_by: Sequence[str] | str = (),
        needs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_when_parsed(cluster_options, cluster)
        check_when_parsed(needs_options, needs)
        self.cluster = cluster
        self.needs = needs
        names = [used_by] if isinstance(used_by, str) else used_by
        self.used_by = names if unresolved(names) else list(names)

    def backend(self, state: LedgerState, rerun_token: str | None) -> SharedCluster:  # noqa: ARG002 - of the base class
        """Return the backend of a cluster, which the teardown task terminates."""
        cluster, invalid = self.new_cluster(self.cluster, state)
        return SharedCluster.of(
            cluster,
            self.needs,
            tags=owner_tag(self.owner),
            folder=self.folder(),
            used_by=self.used_by,
            clients=self.clients,
            ledger=self.ledger,
            identity=self.identity,
            invalid=invalid,
        )

    def log_uri(self) -> str | None:
        """Log URI in the options of the cluster."""
        return (self.cluster.get("overrides") or {}).get("LogUri") or self.cluster.get("log_uri")

    def finish(self, outcome: Outcome) -> Any:
        """Return the id and address of the cluster. A cluster has no marker."""
        handle = outcome.waits[-1].handle
        cluster_id = str(handle.cluster_id) if handle is not None else ""
        described = clusters.describe(self.clients, cluster_id) or {}
        found = {"cluster_id": cluster_id, "master": str(described.get("MasterPublicDnsName", ""))}
        self.ledger.put_document(up_document(cluster_id), json.dumps(found).encode())
        self.log.info("Cluster %s is up; master %s", cluster_id, found["master"])
        return found

    def unneeded(self, context: Any) -> bool:
        """Return whether all jobs that use the cluster have succeeded."""
        again = rerun_names(context) & set(self.used_by)
        ledger = self.clients.ledger(self.identity.state)
        if not self.skip_if_succeeded or not all_succeeded(ledger, self.identity, self.used_by, again):
            return False
        self.log.info("All jobs that use this cluster have succeeded (%s): no cluster", ", ".join(self.used_by))
        return True


def _ledger_name(cluster: Any) -> None:
    """Check the ledger name of a cluster: with any other text, the teardown would find nothing to terminate."""
    if not isinstance(cluster, str) or not cluster or re.fullmatch(r"j-[A-Z0-9]+", cluster):
        raise InvalidRequest(
            f"cluster: expected the cluster's name in the ledger, not {cluster!r}: give the `job` of the "
            "EmrCreateClusterOperator that starts it"
        )


class EmrTerminateClusterOperator(LedgerAccess):
    """Terminates a cluster that `EmrCreateClusterOperator` has started. A teardown task.

    `create >> jobs >> terminate.as_teardown(setups=create)` is all that a Dag needs: see `as_teardown`.
    A cluster with `keep_alive` is not terminated; its idle timeout does it.

    Args:
        cluster: the cluster's name in the ledger: the `job` of the `EmrCreateClusterOperator`.
        **kwargs: of `LedgerAccess`.
    """

    template_fields: Sequence[str] = (*LedgerAccess.template_fields, "cluster")
    replaced: Mapping[str, str] = {
        **LedgerAccess.replaced,
        **dict.fromkeys(("job_flow_id", "cluster_id"), "give cluster=, the `job` of the EmrCreateClusterOperator"),
    }

    def __init__(self, *, cluster: str, **kwargs: Any) -> None:
        kwargs.setdefault("job", cluster)
        super().__init__(**kwargs)
        check_when_parsed(_ledger_name, cluster)
        self.cluster = cluster

    def as_teardown(
        self,
        *,
        setups: BaseOperator | Iterable[BaseOperator] | None = None,
        on_failure_fail_dagrun: bool | None = None,
    ) -> Self:
        """Make this task a teardown that runs whatever became of its setups, and whose failure fails the run.

        Airflow's default rule skips a teardown if its setup failed, even if the cluster is running. A run takes its
        state from its leaf tasks. Jobs before an ordinary teardown are leaves, but not jobs before one with
        `on_failure_fail_dagrun`. Therefore, an empty task `<task_id>.succeeded` follows this one, and fails with it.

        Args:
            setups: setup tasks, as in Airflow.
            on_failure_fail_dagrun: as in Airflow. If it is given, no second task is added.
        """
        if isinstance(setups, Iterator):
            setups = list(setups)
        super().as_teardown(setups=setups, on_failure_fail_dagrun=on_failure_fail_dagrun)
        self.trigger_rule = TriggerRule.ALL_DONE
        if on_failure_fail_dagrun is None:
            after = EmptyOperator(task_id=f"{self.label}.succeeded", dag=self.dag, task_group=self.task_group)
            self >> after
            # A teardown of the same setups, so that it is cleared whenever this one is
            after.as_teardown(setups=setups, on_failure_fail_dagrun=True)
            after.trigger_rule = TriggerRule.ALL_SUCCESS
        return self

    def execute(self, context: Context) -> Any:
        """Terminate all clusters of the run that are open in the ledger."""
        return self.resume(context, {})

    def resume(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Repeat this after an outage."""
        check_when_parsed(_ledger_name, self.cluster)  # a template may have rendered to an id
        with as_airflow_error(retry=True):
            self.open_run(context)
            try:
                return {"ended": self._end_all()}
            except FAILURES as error:
                if not passing(error):
                    raise
                return defer_until_reachable(self, error, outage=event)

    def _end_all(self) -> list[str]:
        """End every cluster of the run; a failure for one of them is raised after all others have ended."""
        ended: list[str] = []
        policy, waited = settings.engine_policy(), 0.0
        while True:
            left: list[Submission] = []
            failures: list[Exception] = []
            state = self.ledger.history()
            for submission in state.submissions:
                try:
                    if self._end(submission, state, ended, policy):
                        left.append(submission)
                except (*FAILURES, AirflowException) as error:
                    self.log.warning("Submission %s: %s", submission.number, error)
                    failures.append(error)
            # Another process may be making its call, or EMR may not show the cluster yet
            late = waited > policy.abandon_after + PAUSE
            if failures and (late or not left):
                raise failures[0]
            if not left:
                return ended
            if late:
                ids = [one.handle.cluster_id if one.handle else f"submission {one.number}" for one in left]
                raise AirflowException(f"Cannot tell whether these clusters have ended: {', '.join(map(str, ids))}")
            time.sleep(PAUSE)
            waited += PAUSE

    def _end(self, submission: Submission, state: LedgerState, ended: list[str], policy: Policy) -> bool:
        """Terminate the cluster of a submission and record its end. Returns whether it has to be checked again."""
        remote = self.remote()
        lost = submission.result is not None and submission.result.outcome == "lost"  # EMR may show it again
        found = adopt(self.ledger, remote, submission, state, policy) if submission.open else submission
        if not found.open and not lost:
            return False
        if found.handle is None or found.handle.cluster_id is None:
            return found.open
        cluster_id = found.handle.cluster_id
        keep = found.intent is not None and found.intent.details.get("keep_alive") is not None
        if keep:
            self.log.info("Cluster %s is kept alive: it ends itself when it is idle", cluster_id)
        else:
            remote.terminate(found, "its jobs have ended")
        observation = remote.observe(found)
        if observation.status == "not_visible":
            return not (lost and state.lease_ended(found, policy.abandon_after))
        brief = observation.answer.brief
        if brief.alive and not keep:
            raise AirflowException(f"Cluster {cluster_id} did not start to terminate: {brief.why}")
        if not lost:
            conclude(self.ledger, remote, found, observation)
        if cluster_id not in ended:
            ended.append(cluster_id)
            self.log.info("Cluster %s: %s", cluster_id, brief.why)
        return False
