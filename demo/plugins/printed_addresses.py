# ruff: noqa: INP001 (Airflow imports the files of this folder one by one)
"""Airflow plugin of the demo: accepts only requests to the addresses that `make up` prints.

Without it, a web page could point its own host name at 127.0.0.1 (DNS rebinding), and its scripts could then read an
admin's token at `/auth/token`.
"""

from __future__ import annotations

import os
from typing import Any

from airflow.plugins_manager import AirflowPlugin

#: Environment variable with the accepted values of the Host header, separated by spaces.
VARIABLE = "DEMO_ADDRESSES"


class PrintedAddresses:
    """ASGI middleware that checks the headers Host and, if there is one, Origin, of HTTP requests and WebSockets.

    Args:
        app: The application.
        addresses: Accepted `host:port`.
    """

    def __init__(self, app: Any, addresses: frozenset[str]) -> None:
        self.app = app
        self.addresses = addresses
        self.origins = {f"http://{address}" for address in addresses}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan" or self.accepts(scope["headers"]):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            body = f"Only accepted: {', '.join(sorted(self.origins))}\n".encode()
            headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 400, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    def accepts(self, headers: list[tuple[bytes, bytes]]) -> bool:
        """Return whether a request with these headers is accepted."""
        hosts = [value.decode("latin-1").lower() for name, value in headers if name == b"host"]
        origins = [value.decode("latin-1").lower() for name, value in headers if name == b"origin"]
        return len(hosts) == 1 and hosts[0] in self.addresses and self.origins.issuperset(origins)


class PrintedAddressesPlugin(AirflowPlugin):
    """Adds the middleware."""

    name = "printed_addresses"
    fastapi_root_middlewares: list[dict[str, Any]] = [  # noqa: RUF012 - as Airflow's class declares it
        {
            "name": "Only printed addresses",
            "middleware": PrintedAddresses,
            "kwargs": {"addresses": frozenset(os.environ.get(VARIABLE, "").split())},
        }
    ]
