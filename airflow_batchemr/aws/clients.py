"""The boto3 clients of one connection and region, each made when first used."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.answers import check_answers
from airflow_batchemr.aws.errors import Expired, NotAllowed, classify
from airflow_batchemr.aws.retry import IDEMPOTENT, ONCE, OPTIONAL, POLLING
from airflow_batchemr.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from botocore.config import Config


class Clients:
    """Clients of one AWS connection and region; safe to use from several threads.

    Args:
        make: `(service, botocore config) -> client`. The Airflow shell passes one that reads the Airflow connection,
            the command line one that uses boto3's own chain of credentials.
        forget: called by `renew`, so that the next clients get fresh credentials.
        put_args: `[batchemr] s3_put_args`, see `aws.s3_put_args`.
    """

    def __init__(
        self,
        make: Callable[[str, Config], Any],
        forget: Callable[[], None] = lambda: None,
        put_args: Mapping[str, Any] | None = None,
    ) -> None:
        self._make = make
        self._forget = forget
        self.put_args: Mapping[str, Any] = put_args or {}
        self._made: dict[tuple[str, str], Any] = {}
        self._lock = threading.RLock()

    def _client(self, service: str, how: str, config: Config) -> Any:
        # Sessions are not thread-safe while they make a client; clients are.
        with self._lock:
            if (service, how) not in self._made:
                self._made[service, how] = self._make(service, config)
            return self._made[service, how]

    def get(self, service: str) -> Any:
        """A client for calls that may be repeated: botocore retries them."""
        return self._client(service, "again", IDEMPOTENT)

    def once(self, service: str) -> Any:
        """A client for calls without a client token: botocore sends them once."""
        return self._client(service, "once", ONCE)

    def optional(self, service: str) -> Any:
        """A client for checks that a start can do without: it gives up within 15 seconds."""
        return self._client(service, "optional", OPTIONAL)

    def polling(self, service: str) -> Any:
        """A client for the poller, which does its own waiting."""
        return self._client(service, "polling", POLLING)

    def prepared(self, prepare: Callable[[Any], object]) -> Clients:
        """Clients of the same connection; `prepare` is called with each boto3 client before it is used."""

        def make(service: str, config: Config) -> Any:
            client = self._make(service, config)
            prepare(client)
            return client

        return Clients(make, self._forget, self.put_args)

    def with_config(self, config: Config) -> Clients:
        """Clients of the same connection with other settings, such as timeouts."""

        def make(service: str, base: Config) -> Any:
            with self._lock:  # both use the same session
                return self._make(service, base.merge(config))

        return Clients(make, put_args=self.put_args)

    def renew(self) -> None:
        """Forget all clients: the next ones are made with fresh credentials."""
        with self._lock:
            self._made.clear()
            self._forget()

    @contextmanager
    def renewing(self, call: str = "") -> Iterator[None]:
        """Translate an error of the call within, and `renew` if the credentials may be its cause, for the next poll.

        Args:
            call: the call as IAM names it; not needed if the error already is an `AwsError`.
        """
        try:
            yield
        except Exception as error:
            meaning = classify(error, call)
            if isinstance(meaning, Expired | NotAllowed):  # a key that was replaced is refused, too
                self.renew()
            raise meaning from error

    @property
    def region(self) -> str:
        """The region that the clients talk to."""
        return str(self.s3.meta.region_name)

    @property
    def s3(self) -> Any:
        """S3: the ledger."""
        return self.get("s3")

    def ledger(self, uri: str | None) -> Ledger:
        """The ledger at a state URI; see `Ledger` for the errors."""
        return Ledger(self.s3, uri, self.put_args)

    @property
    def batch(self) -> Any:
        """AWS Batch, for idempotent calls."""
        return self.get("batch")

    @property
    def emr(self) -> Any:
        """EMR, for idempotent calls."""
        return self.get("emr")

    @property
    def logs(self) -> Any:
        """CloudWatch Logs."""
        return self.get("logs")


def boto3_clients(
    *,
    profile: str | None = None,
    region: str | None = None,
    endpoint_url: str | None = None,
    put_args: Mapping[str, Any] | None = None,
) -> Clients:
    """Clients with boto3's default chain of credentials (environment, profile, role), for use without Airflow.

    Endpoint URLs come from `AWS_ENDPOINT_URL` and the profile, unless given.
    """
    import boto3  # noqa: PLC0415 - 0.3 s that `batchemr validate` need not pay

    session: Any = boto3.Session(profile_name=profile, region_name=region)

    def make(service: str, config: Config) -> Any:
        client = session.client(service, config=config, endpoint_url=endpoint_url)
        check_answers(client)
        return client

    return Clients(make, put_args=put_args)
