"""AWS clients that refuse every call but reading ones, and clients for a forecast without AWS."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.clients import Clients
from airflow_batchemr.core.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Mapping

_READS = re.compile(r"(Describe|List|Get|Head)[A-Z]")


class ForecastWriteError(AwsError):
    """A forecast came to a call that changes something on AWS; the call was not made.

    Args:
        operation: such as `RegisterJobDefinition`.
        request: its arguments.
    """

    not_carried_out = True

    def __init__(self, operation: str, request: Mapping[str, Any]) -> None:
        super().__init__(f"A forecast changes nothing on AWS, so it does not call {operation}")
        self.operation = operation
        self.request = dict(request)


class OfflineError(AwsError):
    """A forecast without AWS came to a call."""

    def __init__(self) -> None:
        super().__init__("This forecast makes no calls to AWS: no state URI is given")


def reading(clients: Clients) -> Clients:
    """Clients of the same connection that raise `ForecastWriteError` for all but Describe*, List*, Get* and Head*."""

    def refuse_writes(params: Mapping[str, Any], model: Any, **_: Any) -> None:
        if not _READS.match(model.name):
            raise ForecastWriteError(model.name, params)

    return clients.prepared(lambda client: client.meta.events.register("provide-client-params", refuse_writes))


def offline() -> Clients:
    """Clients that raise `OfflineError` for every call."""

    def refuse(service: str, config: object) -> Any:  # noqa: ARG001 - of `Clients`
        raise OfflineError

    return Clients(refuse)
