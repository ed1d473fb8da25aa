"""AWS clients that reject all calls except reads, and clients for a forecast without AWS."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.clients import Clients
from airflow_batchemr.core.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Mapping

_READS = re.compile(r"(Describe|List|Get|Head)[A-Z]")


class ForecastWriteError(AwsError):
    """A forecast reached a call that changes AWS. The call was not made.

    Args:
        operation: Name of the call, such as `RegisterJobDefinition`.
        request: Arguments of the call.
    """

    not_carried_out = True

    def __init__(self, operation: str, request: Mapping[str, Any]) -> None:
        super().__init__(f"A forecast changes nothing on AWS, so it does not call {operation}")
        self.operation = operation
        self.request = dict(request)


class OfflineError(AwsError):
    """A forecast without AWS reached a call."""

    def __init__(self) -> None:
        super().__init__("This forecast makes no calls to AWS: no state URI is given")


def reading(clients: Clients) -> Clients:
    """Return clients of the same connection that raise `ForecastWriteError` for all except read calls."""

    def refuse_writes(params: Mapping[str, Any], model: Any, **_: Any) -> None:
        if not _READS.match(model.name):
            raise ForecastWriteError(model.name, params)

    return clients.prepared(lambda client: client.meta.events.register("provide-client-params", refuse_writes))


def offline() -> Clients:
    """Return clients that raise `OfflineError` for every call."""

    def refuse(service: str, config: object) -> Any:  # noqa: ARG001 - of `Clients`
        raise OfflineError

    return Clients(refuse)
