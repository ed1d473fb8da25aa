"""The operators that run steps: on a cluster of their own, or on one that is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.emr import clusters
from airflow_batchemr.aws.emr.cluster_options import ClusterOptions
from airflow_batchemr.aws.emr.clusters import ALIVE, Cluster
from airflow_batchemr.aws.emr.existing_cluster import ExistingCluster
from airflow_batchemr.aws.emr.options import cluster_options, owner_tag, split_commands, step_options
from airflow_batchemr.aws.emr.own_cluster import OwnCluster
from airflow_batchemr.aws.emr.preflight import check_versions
from airflow_batchemr.aws.emr.python_env import environments
from airflow_batchemr.aws.emr.request import STEPS_AT_CREATION, Variant
from airflow_batchemr.aws.emr.running_cluster import running_cluster
from airflow_batchemr.aws.emr.step_configs import plan_steps
from airflow_batchemr.aws.errors import InvalidRequest
from airflow_batchemr.aws.options import job_options
from airflow_batchemr.connections import as_airflow_error
from airflow_batchemr.ledger import Ledger
from airflow_batchemr.operators.emr_base import EmrOperator
from airflow_batchemr.operators.options import check_when_parsed, unresolved
from airflow_batchemr.pipeline_file.needs import Needs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_batchemr.aws.emr.python_env import Environment
    from airflow_batchemr.aws.emr.step_configs import PlannedStep
    from airflow_batchemr.engine.outcome import Outcome
    from airflow_batchemr.ledger import LedgerState
    from airflow_batchemr.pipeline_file.models import Step

#: Of what a program is told about its run: all but the attempt's number, which would make each try's steps others.
_STABLE = ("PIPELINE_RUN_ID", "BATCHEMR_DAG_ID", "BATCHEMR_RUN_KEY", "BATCHEMR_JOB", "BATCHEMR_STATE")


class StepsOperator(EmrOperator):
    """Base of the operators that run steps.

    Args:
        steps: a list of steps in the words of the file: each one `{spark: …}`, `{command: …}`, `{copy: …}`,
            `{hive: …}`, `{jar: …}` or `{raw: …}`; a text or a list of words is a command.
        on_failure: what EMR does when a step fails: `terminate_cluster`, `cancel_and_wait` or `continue`. The task
            fails in any case, but with `continue` the steps after it run.
        resume_steps: whether a later try begins at the step that failed; False where steps hand data on through HDFS.
        env: variables for commands, drivers and executors.
        **kwargs: of `EmrOperator`.
    """

    template_fields: Sequence[str] = (*EmrOperator.template_fields, "steps", "env")
    template_fields_renderers = {"steps": "json", "env": "json"}  # noqa: RUF012 - Airflow's own form

    def __init__(
        self,
        *,
        steps: Sequence[Any],
        on_failure: str | None = None,
        resume_steps: bool = True,
        env: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        with as_airflow_error():
            self.steps = split_commands(steps)
            self.on_failure = job_options(on_failure=on_failure).on_failure
            self.env = env if unresolved(env) else job_options(env=env).env
        check_when_parsed(step_options, self.steps)
        self.resume_steps = resume_steps
        self._environments: dict[str, Environment] | None = None

    def streams(self) -> dict[int, list[str]]:
        """CloudWatch group and stream to which a step's own program writes, by number."""
        sparks = {number: step.spark for number, step in enumerate(self.step_models())}
        return {
            number: [spark.logs.group, spark.logs.stream] for number, spark in sparks.items() if spark and spark.logs
        }

    def planned(self) -> list[PlannedStep]:
        """The steps, numbered; raises `InvalidRequest`."""
        variables = self.identity.environment(0)
        return plan_steps(
            self.step_models(),
            on_failure=self.on_failure,
            environment={**{name: variables[name] for name in _STABLE}, **(self.env or {})},
            pythons={name: one.python for name, one in self.environments().items()},
        )

    def needs(self) -> Needs:
        """What the steps need of their cluster."""
        return Needs.of(self.step_models())

    def environments(self) -> dict[str, Environment]:
        """What each `python_env` comes to; raises `InvalidRequest`."""
        if self._environments is None:
            self._environments = environments(self.clients, self.needs().python_env, self.folder())
        return self._environments

    def step_models(self) -> list[Step]:
        """The steps' words; raises `InvalidRequest`."""
        return step_options(self.steps)

    def finish(self, outcome: Outcome) -> Any:
        """Write the marker; return the XCom."""
        clusters_used = [
            one.result.details.get("cluster_id") for one in outcome.state.current if one.result is not None
        ]
        cluster_id = next((one for one in reversed(clusters_used) if one), None)
        return self.mark(outcome, len(self._planned), {"cluster_id": cluster_id, "steps": len(self._planned)})


class EphemeralEmrOperator(StepsOperator):
    """Starts an EMR cluster, runs its steps one after another, and ends it, whatever happens.

    The cluster ends by itself after its steps, also when nobody is left to end it.
    With `keep_alive` it stays for that long when it has nothing to do, and a retry goes on there.

    Args:
        cluster: the words of `emr:`: type, instances, release, …
        **kwargs: of `StepsOperator`.
    """

    template_fields: Sequence[str] = (*StepsOperator.template_fields, "cluster")
    template_fields_renderers = {**StepsOperator.template_fields_renderers, "cluster": "json"}  # noqa: RUF012

    def __init__(self, *, cluster: dict[str, Any], steps: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(steps=steps, **kwargs)
        check_when_parsed(cluster_options, cluster)
        self.cluster = cluster

    def log_uri(self) -> str | None:
        """As the cluster's words have it."""
        words = cluster_options(self.cluster)
        return words.overrides.get("LogUri") or words.log_uri

    def backend(self, state: LedgerState, rerun_token: str | None) -> OwnCluster:  # noqa: ARG002 - of the base class
        """On a cluster of its own."""
        self._planned = planned = self.planned()
        options = ClusterOptions(
            cluster_options(self.cluster), self.needs(), self.environments(), owner_tag(self.owner)
        )
        configs = [step.config("check", options.step_default) for step in planned]
        options.request(self.identity, 0, configs[:STEPS_AT_CREATION], stays=False, variant=Variant())
        return OwnCluster(
            planned=planned,
            resume=self.resume_steps,
            concurrency=options.emr.step_concurrency,
            clients=self.clients,
            ledger=self.ledger,
            identity=self.identity,
            options=options,
        )


class EmrStepsOperator(StepsOperator):
    """Runs steps one after another on a cluster that is there; exactly one of cluster, cluster_id and cluster_name.

    The next step is added when the one before has completed, so that a failure touches nobody else's steps; give
    `on_failure` to add them all at once.

    Args:
        cluster: ledger name of a cluster of this run, as `EmrCreateClusterOperator` has it.
        cluster_id: id of an existing cluster.
        cluster_name: name of an existing cluster; the newest one that is alive.
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
        self.cluster = cluster
        self.cluster_id = cluster_id
        self.cluster_name = cluster_name

    def backend(self, state: LedgerState, rerun_token: str | None) -> ExistingCluster:  # noqa: ARG002 - of the base class
        """On a cluster that is not the job's own."""
        self._planned = planned = self.planned()
        given = [word for word in ("cluster", "cluster_id", "cluster_name") if getattr(self, word)]
        if len(given) != 1:
            raise InvalidRequest(
                f"exactly one of cluster, cluster_id and cluster_name is needed, not {' and '.join(given) or 'none'}"
            )
        made = self._installed()
        if made and not self.cluster:
            raise InvalidRequest(
                f"python_env: {next(iter(made))} is put on the machines when a cluster starts, and this one is there: "
                "give a packed environment (s3://….tar.gz)"
            )
        return ExistingCluster(
            planned=planned,
            resume=self.resume_steps,
            one_by_one=True,
            clients=self.clients,
            ledger=self.ledger,
            identity=self.identity,
            cluster=self._cluster,
        )

    def _installed(self) -> dict[str, str]:
        """Names of the bootstrap actions that make the steps' Python, by the words of `python_env`."""
        return {words: one.name for words, one in self.environments().items() if one.script is not None}

    def _cluster(self) -> tuple[str, int]:
        """Id and step concurrency of the cluster; raises `InvalidRequest` where it is not there to take steps."""
        if self.cluster:
            ledger = Ledger(self.clients.s3, self.identity.state)
            found = running_cluster(self.clients, ledger.job(self.identity.dag_id, self.identity.run_key, self.cluster))
            cluster_id = found.cluster_id
            lacking = [words for words, name in self._installed().items() if name not in found.bootstrap]
            if lacking:
                raise InvalidRequest(
                    f"python_env: the cluster {cluster_id} was started without {lacking[0]} as it is now: clear the "
                    "task that creates it, and this one with it (by hand: name it in `needs` of that task)"
                )
        elif self.cluster_name:
            alive = clusters.listed(self.clients, states=sorted(ALIVE))
            named = clusters.in_order(entry for entry in alive if entry["Name"] == self.cluster_name)
            if not named:
                raise InvalidRequest(f"cluster_name: no cluster named {self.cluster_name!r} is alive in this region")
            cluster_id = named[-1].cluster_id
        else:
            cluster_id = str(self.cluster_id)
        said = clusters.describe(self.clients, cluster_id)
        if said is None:
            raise InvalidRequest(f"cluster_id: EMR knows no cluster {cluster_id} in this account and region")
        brief = Cluster.of(said)
        if not brief.alive:
            raise InvalidRequest(f"cluster_id: the cluster {cluster_id} has ended: {brief.why}")
        versions = {str(one["Name"]): str(one.get("Version", "")) for one in said.get("Applications", [])}
        needs = self.needs()
        check_versions(f"the cluster {cluster_id}", versions, needs.applications, needs.requires)
        return cluster_id, int(said.get("StepConcurrencyLevel") or 1)
