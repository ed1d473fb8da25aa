"""Create AWS clients, locate the ledger and know secrets, from Airflow's connections and configuration."""

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from airflow_batchemr import settings
from airflow_batchemr.aws import s3_put_args
from airflow_batchemr.aws.answers import check_answers
from airflow_batchemr.aws.clients import Clients
from airflow_batchemr.core.foreign_text import clean_error
from airflow_batchemr.core.secret_values import secret_values
from airflow_batchemr.ledger import Submission

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from botocore.config import Config

    from airflow_batchemr.ledger import JobLedger


def connection_clients(aws_conn_id: str | None, region: str | None, connection: Any = None) -> Clients:
    """Return the clients of an Airflow connection. The connection is read when the first client is requested.

    Credentials, assumed roles, endpoint URLs and `config_kwargs` come from the connection. If the connection does not
    exist, boto3's default credential chain applies, as in the amazon provider.

    Args:
        aws_conn_id: Id of the connection; None: boto3's default credential chain.
        region: AWS region. Defaults to that of the connection.
        connection: The connection, where it has been read before.

    Raises:
        InvalidRequest: `[batchemr] s3_put_args` is invalid.
    """
    opened: list[Any] = []  # hook and session, shared so that all clients use the same botocore models

    def make(service: str, config: Config) -> Any:
        from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
        from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper
        from airflow.sdk.log import mask_secret

        if not opened:
            hook = AwsBaseHook(aws_conn_id=aws_conn_id, region_name=region)
            if connection is not None:
                hook.conn_config = AwsConnectionWrapper(conn=connection, region_name=region)
            # Airflow itself masks the password, and of the extra only the whole text
            mask_secret(hook.conn_config.extra_config)
            opened.extend((hook, hook.get_session(region_name=region)))
        hook, session = opened
        client = session.client(
            service,
            endpoint_url=hook.conn_config.get_service_endpoint_url(service_name=service),
            verify=hook.verify,
            # Our retry settings take precedence, because the guarantees depend on them.
            config=hook.config.merge(config),
        )
        check_answers(client)
        return client

    return Clients(make, opened.clear, s3_put_args.parse(settings.option("s3_put_args")))


_triggers_clients: dict[tuple[str | None, str | None], Clients] = {}


def shared_clients(aws_conn_id: str | None, region: str | None) -> Clients:
    """Return the clients that all triggers of this process share, because each session takes about 10 MB."""
    return _triggers_clients.setdefault((aws_conn_id, region), connection_clients(aws_conn_id, region))


def configured_state(state: str | None) -> str | None:
    """Return the state URI of the operator, else `[batchemr] state`, else None."""
    from airflow.sdk.configuration import conf

    return state or conf.get("batchemr", "state", fallback=None) or None


@contextmanager
def as_airflow_error(*, retry: bool = False) -> Iterator[None]:
    """Convert errors of the ledger and AWS into Airflow exceptions. Errors that a retry cannot fix fail the task.

    The messages of all exceptions, and of those that led to them, are made safe to display: they go to the task log.

    This includes botocore's errors, which occur when a client is created: a missing profile, a denied AssumeRole.

    Args:
        retry: Whether Airflow retries all errors.
    """
    from airflow.sdk.exceptions import AirflowException, AirflowFailException
    from botocore.exceptions import BotoCoreError, ClientError

    from airflow_batchemr.aws.errors import AwsError, classify
    from airflow_batchemr.aws.outage import passing
    from airflow_batchemr.ledger.errors import LedgerError

    try:
        try:
            yield
        except LedgerError as error:
            raise (AirflowException if error.retryable or retry else AirflowFailException)(str(error)) from error
        except AwsError as error:
            raise (AirflowException if error.transient or retry else AirflowFailException)(str(error)) from error
        except (BotoCoreError, ClientError) as error:
            kind = AirflowException if passing(error) or retry else AirflowFailException
            raise kind(str(classify(error))) from error
    except Exception as error:
        clean_error(error)
        raise


# Airflow's rules about secrets, for text from AWS that Airflow itself does not mask


@lru_cache(maxsize=4096)
def secret_name(name: str) -> bool:
    """Return whether Airflow masks values with this name; see `[core] sensitive_var_conn_names`."""
    from airflow.sdk._shared.secrets_masker import should_hide_value_for_key

    return bool(should_hide_value_for_key(name))  # type: ignore[no-untyped-call]


def known_secrets(submissions: Sequence[Submission]) -> frozenset[str]:
    """Return the secret values in the requests of submissions, and in AWS's descriptions of what has ended."""
    intents = [one.intent for one in submissions if one.intent is not None]
    results = [one.result for one in submissions if one.result is not None]
    requests = [one.request for intent in intents for one in intent.requests]
    return secret_values([requests, *([one.details, one.steps] for one in results)], secret_name)


def recorded_secrets(ledger: JobLedger, numbers: Iterable[int]) -> frozenset[str]:
    """Return the secret values in the requests of these submissions: 1 GetObject each. Blocking.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    return known_secrets([Submission(number, None, intent=ledger.intent(number)) for number in numbers])


def submission_secrets(ledger: JobLedger, submissions: Sequence[Submission]) -> frozenset[str]:
    """Return the secret values of submissions, as `known_secrets`. Requests that have not been read are read now.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    unread = [one.number for one in submissions if one.intent is None]
    return known_secrets(submissions) | recorded_secrets(ledger, unread)


def connection_secrets(connection: Any) -> frozenset[str]:
    """Return the password of a connection, and the secret values in its extra."""
    named = {"password": connection.password or "", "extra": connection.extra_dejson}
    return secret_values(named, secret_name)


def mask(secrets: Iterable[str]) -> None:
    """Mask the values in everything that this task logs."""
    from airflow.sdk.log import mask_secret

    if values := sorted(secrets):
        mask_secret([*values])
