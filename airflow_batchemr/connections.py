"""From Airflow's connections and configuration to the clients and places that the layers below take."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.clients import Clients

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.config import Config


def connection_clients(aws_conn_id: str | None, region: str | None) -> Clients:
    """The clients of an Airflow connection; nothing is read before the first client is asked for.

    Credentials, assumed roles, endpoint URLs and `config_kwargs` are the connection's. A connection that does not exist
    means boto3's own chain of credentials, as in the amazon provider.
    """
    opened: list[Any] = []  # the hook and its session: clients of one session share botocore's models

    def make(service: str, config: Config) -> Any:
        from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

        if not opened:
            hook = AwsBaseHook(aws_conn_id=aws_conn_id, region_name=region)
            opened.extend((hook, hook.get_session(region_name=region)))
        hook, session = opened
        return session.client(
            service,
            endpoint_url=hook.conn_config.get_service_endpoint_url(service_name=service),
            verify=hook.verify,
            # Our retries, for they carry the guarantees; the rest is the connection's.
            config=hook.config.merge(config),
        )

    return Clients(make, opened.clear)


_triggers_clients: dict[tuple[str | None, str | None], Clients] = {}


def shared_clients(aws_conn_id: str | None, region: str | None) -> Clients:
    """The clients that all triggers of this process share for a connection and region: a session costs 10 MB."""
    return _triggers_clients.setdefault((aws_conn_id, region), connection_clients(aws_conn_id, region))


def configured_state(state: str | None) -> str | None:
    """The state URI: the operator's own, else Airflow's `[batchemr] state`; None where there is none."""
    from airflow.sdk.configuration import conf

    return state or conf.get("batchemr", "state", fallback=None) or None


@contextmanager
def as_airflow_error(*, retry: bool = False) -> Iterator[None]:
    """Turn errors of the layers below into Airflow's: what a retry cannot fix fails the task at once.

    Args:
        retry: let Airflow retry every failure.
    """
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    from airflow_batchemr.aws.errors import AwsError
    from airflow_batchemr.ledger.errors import LedgerError

    try:
        yield
    except LedgerError as error:
        raise (AirflowException if error.retryable or retry else AirflowFailException)(str(error)) from error
    except AwsError as error:
        raise (AirflowException if error.transient or retry else AirflowFailException)(str(error)) from error
