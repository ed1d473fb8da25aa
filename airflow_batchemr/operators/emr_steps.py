"""Operators that run steps, on their own cluster or on an existing one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.emr.existing_cluster import ExistingCluster, one_cluster
from airflow_batchemr.aws.emr.job_steps import job_steps
from airflow_batchemr.aws.emr.options import cluster_options, owner_tag, split_commands, step_options
from airflow_batchemr.aws.emr.own_cluster import OwnCluster
from airflow_batchemr.connections import as_airflow_error
from airflow_batchemr.operators.emr_base import EmrOperator
from airflow_batchemr.operators.options import check_text, check_when_parsed, is_template, job_option, unresolved

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_batchemr.aws.emr.job_steps import JobSteps
    from airflow_batchemr.engine.outcome import Outcome
    from airflow_batchemr.ledger import LedgerState
    from airflow_batchemr.pipeline_file.models import Step


class StepsOperator(EmrOperator):
    """Base of the operators that run steps.

    Args:
        steps: a list of steps with the options of the file: each one `{spark: …}`, `{command: …}`, `{copy: …}`,
            `{hive: …}`, `{jar: …}` or `{raw: …}`; a text or a list of arguments is a command.
        on_failure: what EMR does when a step fails: `terminate_cluster`, `cancel_and_wait` or `continue`. The task
            fails in any case, but with `continue` the later steps run.
        resume_steps: whether a later try begins at the failed step; False if steps pass data through HDFS.
        env: variables for commands, drivers and executors.
        explicit_success: whether the program of each `spark` and `command` step has to write an object to
            `BATCHEMR_SUCCESS_URI` to succeed; exit code 0 is then not enough.
        execution_role: ARN of the IAM role that the steps run with, their runtime role.
        **kwargs: of `EmrOperator`.
    """

    job_option_names: Sequence[str] = (
        *EmrOperator.job_option_names,
        "on_failure",
        "resume_steps",
        "env",
        "explicit_success",
        "execution_role",
    )
    template_fields: Sequence[str] = (
        *EmrOperator.template_fields,
        "steps",
        "on_failure",
        "resume_steps",
        "env",
        "explicit_success",
        "execution_role",
    )
    template_fields_renderers = {"steps": "json", "env": "json"}  # noqa: RUF012 - Airflow's own form

    def __init__(
        self,
        *,
        steps: Sequence[Any],
        on_failure: str | None = None,
        resume_steps: bool = True,
        env: dict[str, str] | None = None,
        explicit_success: bool = False,
        execution_role: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.steps: Any
        self.env: Any
        with as_airflow_error():
            self.convert("steps", steps, split_commands(steps))
        self.on_failure = job_option("on_failure", on_failure)
        self.convert("env", env, job_option("env", env))
        self.execution_role = job_option("execution_role", execution_role)
        self.resume_steps = job_option("resume_steps", True if resume_steps is None else resume_steps)
        self.explicit_success = job_option("explicit_success", explicit_success)
        check_when_parsed(step_options, self.steps)

    def streams(self) -> dict[int, list[str]]:
        """Return the CloudWatch group and stream to which the program of a step writes, by step number."""
        logs = {number: step.kind.logs for number, step in enumerate(self.step_models())}
        return {number: [one.group, one.stream] for number, one in logs.items() if one is not None}

    def job_steps(self) -> JobSteps:
        """Return the numbered steps with their requirements. Raises `InvalidRequest`."""
        found = job_steps(
            self.step_models(),
            clients=self.clients,
            identity=self.identity,
            folder=self.folder(),
            on_failure=self.on_failure,
            env=self.env,
            explicit_success=self.explicit_success,
            execution_role=self.execution_role,
            rendered=True,
        )
        self._planned = found.planned
        return found

    def step_models(self) -> list[Step]:
        """Return the options of the steps. Raises `InvalidRequest`."""
        return step_options(self.steps, rendered=True)

    def finish(self, outcome: Outcome) -> Any:
        """Write the marker and return the XCom."""
        clusters_used = [
            one.result.details.get("cluster_id") for one in outcome.state.current if one.result is not None
        ]
        cluster_id = next((one for one in reversed(clusters_used) if one), None)
        return self.mark(outcome, len(self._planned), {"cluster_id": cluster_id, "steps": len(self._planned)})


class EphemeralEmrOperator(StepsOperator):
    """Starts an EMR cluster, runs its steps one after another, and terminates it, even after a failure.

    The cluster terminates itself after its steps, even if Airflow is down.
    With `keep_alive`, it stays idle for that long, and a retry uses it.

    Args:
        cluster: the options of `emr:`: type, instances, release, …
        **kwargs: of `StepsOperator`.
    """

    template_fields: Sequence[str] = (*StepsOperator.template_fields, "cluster")
    template_fields_renderers = {**StepsOperator.template_fields_renderers, "cluster": "json"}  # noqa: RUF012

    def __init__(self, *, cluster: dict[str, Any], steps: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(steps=steps, **kwargs)
        check_when_parsed(cluster_options, cluster)
        self.cluster = cluster

    def log_uri(self) -> str | None:
        """Log URI in the options of the cluster."""
        return (self.cluster.get("overrides") or {}).get("LogUri") or self.cluster.get("log_uri")

    def backend(self, state: LedgerState, rerun_token: str | None) -> OwnCluster:  # noqa: ARG002 - of the base class
        """Steps on the job's own cluster."""
        cluster, invalid = self.new_cluster(self.cluster, state)
        return OwnCluster.of(
            cluster,
            self.job_steps(),
            tags=owner_tag(self.owner),
            resume=self.resume_steps,
            clients=self.clients,
            ledger=self.ledger,
            identity=self.identity,
            invalid=invalid,
        )


class EmrStepsOperator(StepsOperator):
    """Runs steps one after another on an existing cluster: exactly one of cluster, cluster_id and cluster_name.

    Each step is added when the previous one has completed, so that a failure does not affect the steps of others.
    Set `on_failure` to add all of them at once.

    Args:
        cluster: ledger name of a cluster of this run: the `job` of its `EmrCreateClusterOperator`.
        cluster_id: id of an existing cluster.
        cluster_name: name of an existing cluster; an error if several clusters with this name are active.
        **kwargs: of `StepsOperator`.
    """

    template_fields: Sequence[str] = (*StepsOperator.template_fields, "cluster", "cluster_id", "cluster_name")

    def __init__(
        self,
        *,
        steps: Sequence[Any],
        cluster: str | None = None,
        cluster_id: str | None = None,
        cluster_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(steps=steps, **kwargs)
        named = {"cluster": cluster, "cluster_id": cluster_id, "cluster_name": cluster_name}
        check_text(**named)
        # Templates may render to nothing, so that only one of several remains when the task runs
        late = {name for name, value in named.items() if unresolved(value) or is_template(value)}
        known = {name: value for name, value in named.items() if name not in late}
        if not late or sum(map(bool, known.values())) > 1:
            check_when_parsed(one_cluster, known)
        self.cluster = cluster
        self.cluster_id = cluster_id
        self.cluster_name = cluster_name

    def backend(self, state: LedgerState, rerun_token: str | None) -> ExistingCluster:  # noqa: ARG002 - of the base class
        """Return the backend of steps on a cluster that is not the job's own."""
        return ExistingCluster.of(
            self.job_steps(),
            cluster=self.cluster,
            cluster_id=self.cluster_id,
            cluster_name=self.cluster_name,
            resume=self.resume_steps,
            clients=self.clients,
            ledger=self.ledger,
            identity=self.identity,
        )
