"""Logging in to the demo's Airflow where other machines can connect."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from demo.airflow import Airflow

AWS = SimpleNamespace(
    state="s3://data/_batchemr",
    endpoint_url="http://127.0.0.1:5",
    environment={"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"},
)


@pytest.fixture
def demo(airflow_db, monkeypatch, tmp_path):
    """The demo's Airflow, of which only the API server runs, in this process; and a client of it."""
    from airflow.api_fastapi import app
    from fastapi.testclient import TestClient

    monkeypatch.setattr(Airflow, "program", lambda *_: None)
    airflow = Airflow(tmp_path / "home", tmp_path, AWS, listen=("192.0.2.7", 8080))
    airflow.launch()
    for name, value in airflow.environment.items():
        if name.startswith(("AIRFLOW__CORE__SIMPLE_AUTH", "AIRFLOW__API_AUTH")):
            monkeypatch.setenv(name, value)
    yield airflow, TestClient(app.create_app(apps="core"))
    app.purge_cached_app()


def test_only_the_generated_password_gives_a_token(demo):
    """Nobody is an admin without it."""
    airflow, client = demo
    assert client.get("/auth/token").status_code == 403
    assert client.post("/auth/token", json={"username": "admin", "password": "admin"}).status_code == 401
    given = {"username": airflow.user, "password": airflow.password}
    token = client.post("/auth/token", json=given).raise_for_status().json()["access_token"]
    assert client.get("/api/v2/dags", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    assert client.get("/api/v2/dags").status_code == 401
