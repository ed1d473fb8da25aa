"""The Airflow client of the demo."""

from __future__ import annotations

import pytest

from demo.airflow import BACKFILL_TRIES, Airflow, AirflowError


class Busy(Airflow):
    """An Airflow whose first commands fail with an error message."""

    def __init__(self, failures, message):
        self.failures, self.message, self.commands = failures, message, 0

    def run_command(self, *arguments):
        self.commands += 1
        if self.commands <= self.failures:
            raise AirflowError(self.message)

    def wait(self, until, what, timeout=0, every=0):
        assert until(), what

    def call(self, method, path, **options):
        return {"backfills": [], "dag_runs": [{"state": "success"}]}


@pytest.mark.parametrize("failures", [0, 1, BACKFILL_TRIES - 1])
def test_a_backfill_is_repeated_if_the_database_is_locked(failures):
    """Airflow has rolled it back."""
    airflow = Busy(failures, "(sqlite3.OperationalError) database is locked\n[SQL: DELETE …]")
    airflow.backfill("d")
    assert failures + 1 == airflow.commands


@pytest.mark.parametrize(("message", "commands"), [("database is locked", BACKFILL_TRIES), ("Could not find dag d", 1)])
def test_other_errors_of_a_backfill_are_raised(message, commands):
    """Immediately; a database that stays locked only after several tries."""
    airflow = Busy(99, message)
    with pytest.raises(AirflowError, match=message):
        airflow.backfill("d")
    assert commands == airflow.commands
