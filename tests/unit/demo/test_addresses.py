"""Which addresses of the demo's Airflow are accepted, and when it needs a password."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import stat
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from demo import airflow as demo_airflow
from demo.addresses import Address
from demo.airflow import PASSWORDS, Airflow, AirflowError

EVERY = "0.0.0.0"  # noqa: S104 - nothing listens here
AWS = SimpleNamespace(
    state="s3://data/_batchemr",
    endpoint_url="http://127.0.0.1:5",
    environment={"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"},
)


@pytest.fixture
def plugin():
    """The plugin, as Airflow loads it from its folder."""
    path = Path(demo_airflow.__file__).with_name("plugins") / "printed_addresses.py"
    spec = importlib.util.spec_from_file_location("printed_addresses", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def answer(plugin, headers, *, kind="http", addresses=("127.0.0.1:8080", "localhost:8080")):
    """The status of a request; "closed" for a refused WebSocket; "app" if the application receives it."""
    sent = []

    async def app(_scope, _receive, _send):
        sent.append("app")

    async def send(message):
        sent.append(message.get("status") or ("closed" if message["type"] == "websocket.close" else None))

    middleware = plugin.PrintedAddresses(app, addresses=frozenset(addresses))
    raw = [(name.encode(), value.encode()) for name, value in headers]
    asyncio.run(middleware({"type": kind, "headers": raw}, None, send))
    return sent[0]


@pytest.mark.parametrize(
    "headers",
    [
        [("host", "127.0.0.1:8080")],
        [("host", "LocalHost:8080")],
        [("host", "127.0.0.1:8080"), ("origin", "http://127.0.0.1:8080")],
    ],
)
def test_the_printed_addresses_are_accepted(plugin, headers):
    """Also for WebSockets."""
    assert answer(plugin, headers) == "app"
    assert answer(plugin, headers, kind="websocket") == "app"


@pytest.mark.parametrize(
    "headers",
    [
        [("host", "rebound.example:8080")],
        [("host", "rebound.example")],
        [("host", "127.0.0.1:9000")],
        [("host", "127.0.0.1")],
        [("host", "127.0.0.1:8080.rebound.example")],
        [("host", "127.0.0.1:8080"), ("host", "rebound.example")],
        [("host", "")],
        [],
        [("host", "127.0.0.1:8080"), ("origin", "http://evil.example")],
        [("host", "127.0.0.1:8080"), ("origin", "null")],
        [("host", "127.0.0.1:8080"), ("origin", "http://127.0.0.1:9000")],
    ],
)
def test_other_hosts_ports_and_origins_are_refused(plugin, headers):
    """A page that points its own host name at 127.0.0.1 still sends that name."""
    assert answer(plugin, headers) == 400
    assert answer(plugin, headers, kind="websocket") == "closed"


def test_without_addresses_nothing_is_accepted(plugin):
    """If the variable is missing."""
    assert answer(plugin, [("host", "127.0.0.1:8080")], addresses=()) == 400


@pytest.mark.parametrize(
    ("host", "url", "accepted"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080", ["127.0.0.1:8080", "localhost:8080"]),
        ("localhost", "http://localhost:8080", ["localhost:8080", "localhost:8080"]),
        ("127.0.0.2", "http://127.0.0.2:8080", ["127.0.0.2:8080", "localhost:8080"]),
        ("::1", "http://[::1]:8080", ["[::1]:8080", "localhost:8080"]),
    ],
)
def test_on_loopback_everybody_is_an_admin(tmp_path, host, url, accepted):
    """And the Host header has to be what was printed, or localhost."""
    airflow = Airflow(tmp_path, tmp_path, AWS, listen=(host, 8080))
    assert airflow.url == url
    assert airflow.password is None
    assert airflow.environment["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS"] == "True"
    assert airflow.environment["DEMO_ADDRESSES"].split() == accepted


@pytest.mark.parametrize("host", [EVERY, "192.0.2.7", "::", "my-machine"])
def test_where_other_machines_can_connect_a_password_is_needed(tmp_path, monkeypatch, host):
    """It is generated, and only this user can read it."""
    monkeypatch.setattr(Airflow, "program", lambda *_: None)
    airflow = Airflow(tmp_path / "home", tmp_path, AWS, listen=(host, 8080))
    airflow.launch()
    assert airflow.environment["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS"] == "False"
    file = tmp_path / "home" / PASSWORDS
    assert airflow.environment["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"] == str(file)
    assert json.loads(file.read_text()) == {"admin": airflow.password}
    assert len(airflow.password) >= 20
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert Airflow(tmp_path, tmp_path, AWS, listen=(host, 8080)).password != airflow.password


def test_on_all_addresses_those_of_the_machine_are_accepted():
    """Of the published port of a container, that is 127.0.0.1 or localhost."""
    address = Address(EVERY, 8080)
    assert address.urls[0] == address.url == "http://127.0.0.1:8080"
    assert {"127.0.0.1:8080", "localhost:8080"} <= set(address.accepted)
    assert all(name.rpartition(":")[2] == "8080" for name in address.accepted)


def test_on_all_ipv6_addresses_those_are_printed():
    """The server accepts no IPv4 there."""
    address = Address("::", 8080)
    assert address.urls[0] == address.url == "http://[::1]:8080"
    assert {"[::1]:8080", "localhost:8080"} <= set(address.accepted)
    assert all(url.startswith("http://[") and "%" not in url for url in address.urls)


def test_the_default_port_is_left_out_as_browsers_do():
    """A browser sends `Host: localhost` for port 80."""
    assert Address("127.0.0.1", 80).accepted == ["127.0.0.1", "localhost"]


@pytest.mark.parametrize("checks", [True, False])
def test_the_demo_stops_if_airflow_does_not_check_the_host(tmp_path, checks):
    """Such as with a plugin that this version of Airflow does not load."""

    def respond(request):
        if checks and request.headers["Host"] == "rebound.invalid":
            return httpx.Response(400)
        if request.url.path == "/auth/token":
            return httpx.Response(201, json={"access_token": "t"})
        names = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        return httpx.Response(200, json={name: {"status": "healthy"} for name in names})

    airflow = Airflow(tmp_path, tmp_path, AWS)
    airflow._client = httpx.Client(base_url=airflow.url, transport=httpx.MockTransport(respond))
    if checks:
        airflow.wait_until_healthy()
        assert airflow._client.headers["Authorization"] == "Bearer t"
    else:
        with pytest.raises(AirflowError, match="does not check the Host header"):
            airflow.wait_until_healthy()
