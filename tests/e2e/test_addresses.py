"""The Airflow of `make up` is safe from web pages that point their own host name at 127.0.0.1 (DNS rebinding)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from demo.airflow import Airflow


@pytest.mark.parametrize("headers", [{"Host": "rebound.example"}, {"Origin": "http://evil.example"}])
@pytest.mark.parametrize("path", ["/auth/token", "/auth/token/login", "/", "/api/v2/version", "/execution/health"])
def test_a_rebound_page_gets_no_token(airflow: Airflow, path: str, headers: dict[str, str]) -> None:
    """Nor anything else; the answer names the accepted addresses."""
    port = airflow.url.rpartition(":")[2]
    if "Host" in headers:
        headers = {"Host": f"{headers['Host']}:{port}"}
    answer = httpx.get(f"{airflow.url}{path}", headers=headers, trust_env=False)
    assert answer.status_code == 400
    assert airflow.url in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_printed_address_and_localhost_work(airflow: Airflow, host: str) -> None:
    """As in a browser, without a password."""
    port = airflow.url.rpartition(":")[2]
    answer = httpx.get(f"{airflow.url}/auth/token", headers={"Host": f"{host}:{port}"}, trust_env=False)
    assert answer.status_code == 201
