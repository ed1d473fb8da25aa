"""Which ledger a Dag has: the pages take no place in S3 from whoever asks."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_batchemr.connections import configured_state

#: The operators' default connection.
CONNECTION = "aws_default"


@dataclass(frozen=True)
class StateLocation:
    """A state URI, and how to get there."""

    state: str | None
    aws_conn_id: str | None = CONNECTION
    region: str | None = None


def configured() -> StateLocation:
    """The place of Airflow's configuration."""
    return StateLocation(configured_state(None))


def state_location_of(dag_id: str) -> StateLocation:
    """The place of a Dag's jobs: as its tasks say, in the version of the Dag that Airflow has; else as configured.

    A `state` that is a template is not filled in: such a Dag's ledger is looked for where Airflow's configuration says.
    """
    from airflow.models.serialized_dag import SerializedDagModel

    dag = SerializedDagModel.get_dag(dag_id)
    for task in dag.tasks if dag else ():
        if not str(getattr(task, "_task_module", "")).startswith("airflow_batchemr.operators."):
            continue
        given = getattr(task, "partial_kwargs", None) or vars(task)  # a mapped task keeps its arguments there
        state = given.get("state")
        if isinstance(state, str) and "{{" in state:
            state = None
        return StateLocation(configured_state(state), given.get("aws_conn_id", CONNECTION), given.get("region"))
    return configured()
