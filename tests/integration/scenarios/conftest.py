"""Fixtures of a scenario: a clock, an AWS account, and a backend."""

from __future__ import annotations

import pytest

from airflow_batchemr.local import LocalAWS
from tests.integration.scenarios import clock as clocks
from tests.integration.scenarios.backends import FAKE_SUBMIT
from tests.integration.scenarios.faults import World


@pytest.fixture(scope="session")
def local_aws_server(tmp_path_factory):
    """The local AWS shared by all scenarios, with a `spark-submit` that runs shell scripts."""
    programs = tmp_path_factory.mktemp("programs")
    (programs / "spark-submit").write_text(FAKE_SUBMIT)
    (programs / "spark-submit").chmod(0o755)
    with LocalAWS(root=tmp_path_factory.mktemp("local-aws"), slots=4, path=[programs]) as aws:
        yield aws


@pytest.fixture
def world(aws, monkeypatch):
    """The local AWS as seen by the processes of a scenario."""
    clock = clocks.Clock()
    clocks.install(monkeypatch, clock)
    world = World(clock)
    world.install(monkeypatch)
    yield world
    world.resume()


@pytest.fixture
def make_backend(aws, state, tmp_path):
    """A function that creates a backend. Backends are cleaned up after the test."""
    made = []

    def make(kind):
        folder = tmp_path / "work"
        folder.mkdir()
        backend = kind(aws, folder, state)
        backend.prepare()
        made.append(backend)
        return backend

    yield make
    for backend in made:
        backend.release()
        backend.clean()
