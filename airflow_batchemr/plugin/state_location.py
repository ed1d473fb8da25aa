"""Find the ledger of a Dag. The pages do not accept S3 locations from requests."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_batchemr.connections import configured_state

#: The operators' default connection.
CONNECTION = "aws_default"


@dataclass(frozen=True)
class StateLocation:
    """A state URI with the connection and region to access it."""

    state: str | None
    aws_conn_id: str | None = CONNECTION
    region: str | None = None


def configured() -> StateLocation:
    """Return the location from Airflow's configuration."""
    return StateLocation(configured_state(None))


def state_location_of(dag_id: str) -> StateLocation:
    """Return the location set by the tasks of the latest version of a Dag, or else the configured one.

    A templated `state` is not rendered; the configured location is used for such Dags.
    """
    from airflow.models.serialized_dag import SerializedDagModel

    dag = SerializedDagModel.get_dag(dag_id)
    for task in dag.tasks if dag else ():
        if not str(getattr(task, "_task_module", "")).startswith("airflow_batchemr.operators."):
            continue
        given = getattr(task, "partial_kwargs", None) or vars(
            task
        )  # mapped tasks keep their arguments in partial_kwargs
        state = given.get("state")
        if isinstance(state, str) and "{{" in state:
            state = None
        return StateLocation(configured_state(state), given.get("aws_conn_id", CONNECTION), given.get("region"))
    return configured()
