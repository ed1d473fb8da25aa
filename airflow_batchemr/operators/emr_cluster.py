"""Setup and teardown of a cluster that serves other tasks of the run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException

from airflow_batchemr.aws.emr import clusters
from airflow_batchemr.aws.emr.options import cluster_options, owner_tag
from airflow_batchemr.aws.emr.own_cluster import ClusterWords
from airflow_batchemr.aws.emr.python_env import environments
from airflow_batchemr.aws.emr.request import Variant
from airflow_batchemr.aws.emr.shared_cluster import ClusterJob
from airflow_batchemr.aws.emr.submissions import StoppedError
from airflow_batchemr.ledger import Ledger
from airflow_batchemr.operators.emr_base import EmrOperator
from airflow_batchemr.operators.options import check_when_parsed
from airflow_batchemr.pipeline_file.needs import Needs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from airflow_batchemr.ledger import LedgerState


class EmrCreateClusterOperator(EmrOperator):
    """Starts an EMR cluster for other tasks of the run and waits until it is up; a setup task.

    Its XCom is `{"cluster_id": …, "master": …}`, or None where nobody needs the cluster.

    Args:
        cluster: the words of `emr:`: type, instances, release, …
        serves: ledger names of the jobs that use it. When the markers of all of them stand, there is no cluster.
        needs: what their steps need of it: lists of `applications`, `python_env` and `docker_image`, and `requires`
            with versions; so that all of it is looked at, and made, before they run.
        **kwargs: of `EmrOperator`; `job` is the cluster's name in the ledger.
    """

    template_fields: Sequence[str] = (*EmrOperator.template_fields, "cluster", "needs")
    template_fields_renderers = {"cluster": "json", "needs": "json"}  # noqa: RUF012 - Airflow's own form
    stops_when_cleared = False  # a cluster that is up serves the next try as well

    def __init__(
        self,
        *,
        cluster: dict[str, Any],
        used_by: Sequence[str] = (),
        needs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_when_parsed(cluster_options, cluster)
        self.cluster = cluster
        self.needs = needs
        self.used_by = list(used_by)

    def work(
        self, context: Context, state: LedgerState, rerun_token: str | None, event: Mapping[str, Any] | None
    ) -> Any:
        """Start the cluster, or find the one that was started; wait until it is up."""
        self.heed(event, state, {})
        needs = Needs.of_values(self.needs or {})
        pythons = environments(self.clients, needs.python_env, self.folder())
        words = ClusterWords(cluster_options(self.cluster), needs, pythons, tags=owner_tag(self.owner))
        words.request(self.identity, 0, (), stays=True, variant=Variant())
        if event is None and not state.open_submissions and self._not_needed(context):
            self.log.info("All that this cluster is for has succeeded (%s): no cluster", ", ".join(self.used_by))
            return None
        self.engine = job = ClusterJob(
            words, self.clients, self.identity, self.emr_submissions(), self.ledger, used_by=self.used_by
        )
        try:
            move = job.run(state, rerun_token, event.get("before") if event else None)
        except StoppedError:
            raise self.killed() from None
        if move.action == "wait":
            log_uri = words.emr.overrides.get("LogUri") or words.emr.log_uri
            self.wait(context, move.state, move.waits, move.before, log_uri=log_uri)
        if move.action == "fail":
            self.fail(move, {})
        said = clusters.describe(self.clients, str(move.cluster_id)) or {}
        master = str(said.get("MasterPublicDnsName", ""))
        found = {"cluster_id": move.cluster_id, "master": master}
        self.ledger.put_document(f"cluster/{move.cluster_id}.json", json.dumps(found).encode())
        self.log.info("Cluster %s is up; master %s", move.cluster_id, master)
        return found

    def _not_needed(self, context: Any) -> bool:
        """Whether the markers of all jobs that the cluster is for stand, and none of them is to run again."""
        again = self.rerun_names(context) & set(self.used_by)
        ledger = Ledger(self.clients.s3, self.identity.state)
        for name in self.used_by:
            marker = ledger.job(self.identity.dag_id, self.identity.run_key, name).read().marker
            if marker is None:
                return False
            # A job that this very run has run again already has a marker of this run
            if name in again and not (marker.rerun_token or "").startswith(f"{self.identity.run_id}#"):
                return False
        return bool(self.used_by) and self.skip_if_succeeded


class EmrTerminateClusterOperator(EmrOperator):
    """Ends a cluster that `EmrCreateClusterOperator` has started; a teardown task.

    A cluster with `keep_alive` is left to its idle timeout.

    Args:
        cluster: the cluster's name in the ledger.
        **kwargs: of `EmrOperator`.
    """

    template_fields: Sequence[str] = (*EmrOperator.template_fields, "cluster")
    stops_when_cleared = False  # ending clusters is its own work

    def __init__(self, *, cluster: str, **kwargs: Any) -> None:
        kwargs.setdefault("job", cluster)
        super().__init__(**kwargs)
        self.cluster = cluster

    def work(
        self, context: Context, state: LedgerState, rerun_token: str | None, event: Mapping[str, Any] | None
    ) -> Any:
        """End all clusters of the run that the ledger knows as open."""
        submissions = self.emr_submissions()
        ended = []
        while pending := [*state.stale_submissions, *state.open_submissions]:
            for submission in pending:
                opened = submissions.adopt(submission, state)
                if opened is None or opened.cluster_id is None:
                    continue
                keep = (submission.intent.details.get("keep_alive") if submission.intent else None) is not None
                if keep:
                    self.log.info("Cluster %s is kept alive: it ends itself when it is idle", opened.cluster_id)
                else:
                    submissions.end(opened)
                look = submissions.look(opened)
                brief = look.brief
                if brief is not None and brief.alive and not keep:
                    raise AirflowException(f"Cluster {opened.cluster_id} did not begin to end: {brief.why}")
                submissions.close_cluster(opened, look, rerun_token=submission.rerun_token)
                ended.append(opened.cluster_id)
                self.log.info("Cluster %s: %s", opened.cluster_id, brief.why if brief else "unknown to EMR")
            state = self.ledger.read()
            if state.open_submissions or state.stale_submissions:
                submissions.pause()  # somebody may just be starting it
                state = self.ledger.read()
        return {"ended": ended}
