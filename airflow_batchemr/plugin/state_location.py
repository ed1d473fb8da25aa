"""Find the ledgers of a Dag, and the connections to read them. The pages do not accept S3 locations from requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_batchemr.connections import configured_state, connection_clients, connection_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_batchemr.aws.clients import Clients

#: The operators' default connection.
CONNECTION = "aws_default"
#: Maximum number of ledgers of one Dag that a page reads.
MAX_LOCATIONS = 10


class NoConnectionError(Exception):
    """The API server has no connection for a ledger, and does not use its own AWS role instead."""


@dataclass(frozen=True)
class StateLocation:
    """A state URI with the connection and region to access it."""

    state: str | None
    aws_conn_id: str | None = CONNECTION
    region: str | None = None
    dag_id: str | None = None
    """The Dag whose tasks use the connection; None: the location of Airflow's configuration."""

    def open(self) -> tuple[Clients, frozenset[str]]:
        """Return clients of the connection as the Dag's tasks see it, and its secret values.

        The API server's own AWS role may read more than the tasks' connection, and the author of a Dag chooses the
        state URI. So the role is used only if somebody who may edit connections has created one without credentials, or
        if the Dag has no connection (`aws_conn_id=None`) and its ledger is that of Airflow's configuration.

        Raises:
            NoConnectionError: Names the connection.
        """
        if not self.aws_conn_id:
            if self.state is not None and self.state.rstrip("/") != (configured_state(None) or "").rstrip("/"):
                raise NoConnectionError(
                    f"The tasks of {self.dag_id} have no connection (aws_conn_id=None) but their own state URI "
                    f"{self.state}. The API server does not read it with its own AWS role: give the tasks a connection"
                )
            return connection_clients(None, self.region), frozenset()
        connection = _connection(self.aws_conn_id, self.dag_id)
        return connection_clients(self.aws_conn_id, self.region, connection), connection_secrets(connection)


def configured() -> StateLocation:
    """Return the location from Airflow's configuration."""
    return StateLocation(configured_state(None))


def state_locations_of(dag_id: str, job: str | None = None) -> list[StateLocation]:
    """Return the locations set by the tasks of the latest version of a Dag, or else the configured one.

    A templated `state` is not rendered; the configured location is used for such tasks.

    Args:
        dag_id: The Dag.
        job: If any task has this job, only the locations of these tasks are returned.
    """
    from airflow.models.serialized_dag import SerializedDagModel

    dag = SerializedDagModel.get_dag(dag_id)
    found: dict[StateLocation, bool] = {}
    for task in dag.tasks if dag else ():
        if not str(getattr(task, "_task_module", "")).startswith("airflow_batchemr.operators."):
            continue
        given = getattr(task, "partial_kwargs", None) or vars(task)  # mapped tasks keep their arguments there
        conn_id = given.get("aws_conn_id", CONNECTION)
        place = StateLocation(
            configured_state(_fixed(given, "state")),
            None if conn_id is None else str(conn_id),
            _fixed(given, "region"),
            dag_id,
        )
        name = given.get("job") or task.task_id
        ours = job is not None and (job == name or job.rpartition(".")[0] == name)  # of a mapped task: with its index
        found[place] = found.get(place, False) or ours
    chosen = [place for place, ours in found.items() if ours] or list(found)
    return chosen[:MAX_LOCATIONS] or [StateLocation(configured_state(None), dag_id=dag_id)]


def _fixed(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    return None if not isinstance(value, str) or "{{" in value or "{%" in value else value


def _connection(conn_id: str, dag_id: str | None) -> Any:
    """Return a connection, as Airflow's execution API returns it to the tasks of the Dag.

    Raises:
        NoConnectionError: It does not exist, for the team of the Dag.
    """
    from airflow.configuration import conf
    from airflow.models.connection import Connection
    from airflow.models.dag import DagModel
    from airflow.sdk.exceptions import AirflowNotFoundException

    team = DagModel.get_team_name(dag_id) if dag_id and conf.getboolean("core", "multi_team", fallback=False) else None
    try:
        return Connection.get_connection_from_secrets(conn_id, team_name=team)
    except (AirflowNotFoundException, PermissionError):  # a secrets backend may deny the access
        of_team = f", for the team {team}," if team else ""
        raise NoConnectionError(
            f"The connection {conn_id} is not defined{of_team} where Airflow's API server can find it. Without it, "
            "tasks use the AWS role of their worker; pages do not use that of the API server. Create the connection: "
            "an empty one of type aws is enough if the API server's own role may read the state URI"
        ) from None
