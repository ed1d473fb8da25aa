"""The state of a task in Airflow's database, which triggers and workers ask for through the Task SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_batchemr.engine.job_identity import JobIdentity


def task_state(identity: JobIdentity) -> str | None:
    """Return the state of a task, such as `deferred`; None if it or its run was deleted. One request to Airflow."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states = RuntimeTaskInstance.get_task_states(
        dag_id=identity.dag_id,
        task_ids=[identity.task_id],
        run_ids=[identity.run_id],
        map_index=identity.map_index,
    )
    name = identity.task_id if identity.map_index < 0 else f"{identity.task_id}_{identity.map_index}"
    state = states.get(identity.run_id, {}).get(name)
    return None if state is None else str(getattr(state, "value", state))
