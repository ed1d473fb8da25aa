"""What is shown before something is ended."""

from __future__ import annotations

import sys
from datetime import datetime, timezone

import pytest
import typer

from airflow_batchemr.cli import ending
from airflow_batchemr.cli.inventory import Started


def test_a_long_reason_does_not_hide_the_other_lines(monkeypatch, capsys):
    """It is that of a stop request, which anybody with write access to the state bucket can write."""
    now = datetime.now(timezone.utc)
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: False)
    jobs = [Started("job", id_, f"name-{id_}", "RUNNING", now, None, {}) for id_ in ("a", "b")]
    with pytest.raises(typer.Exit) as raised:
        ending.confirm([(jobs[0], "because"), (jobs[1], "x\n" * 1_000_000)], yes=False)
    assert raised.value.exit_code == 1
    shown = capsys.readouterr().err
    assert "name-a RUNNING" in shown
    assert "name-b RUNNING" in shown
    assert len(shown) < 2_000


def test_with_a_closed_stdin_nothing_is_ended(monkeypatch, capsys):
    """Python then has no stdin."""
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(typer.Exit) as raised:
        ending.check_can_ask("--terminate", yes=False)
    assert raised.value.exit_code == 2
    assert "there is no terminal: add --yes" in capsys.readouterr().err
