"""What all commands share: Airflow's configuration without Airflow."""

from __future__ import annotations

import pytest
import typer

from airflow_batchemr.cli.common import engine_policy


def test_the_times_of_the_tasks_come_from_the_configuration_of_airflow(monkeypatch, tmp_path):
    """With others, a command would give up work that a task still waits for."""
    config = tmp_path / "airflow.cfg"
    config.write_text("[batchemr]\nclaim_lease = 300\n")
    monkeypatch.setenv("AIRFLOW_CONFIG", str(config))
    monkeypatch.setenv("AIRFLOW__BATCHEMR__VISIBILITY_GRACE", "400")
    policy = engine_policy()
    assert (300.0, 400.0, 700.0) == (policy.claim_lease, policy.visibility_grace, policy.abandon_after)


def test_an_invalid_time_is_an_error_of_the_command(monkeypatch, capsys):
    """Not a traceback."""
    monkeypatch.setenv("AIRFLOW__BATCHEMR__CLAIM_LEASE", "soon")
    with pytest.raises(typer.Exit):
        engine_policy()
    assert "error: [batchemr] claim_lease is not a number of seconds: 'soon'" in capsys.readouterr().err
