"""The demo's hand on Airflow, where Airflow is busy."""

from __future__ import annotations

import pytest

from demo.airflow import LOCKED, Airflow, AirflowError


class Busy(Airflow):
    """An Airflow whose database is locked for the first so many commands."""

    def __init__(self, refusals, words):
        self.refusals, self.words, self.asked = refusals, words, 0

    def run_command(self, *arguments):
        self.asked += 1
        if self.asked <= self.refusals:
            raise AirflowError(self.words)

    def wait(self, until, what, timeout=0, every=0):
        assert until(), what

    def call(self, method, path, **options):
        return {"backfills": [], "dag_runs": [{"state": "success"}]}


@pytest.mark.parametrize("refusals", [0, 1, LOCKED - 1])
def test_a_backfill_that_met_a_locked_database_is_asked_for_again(refusals):
    """Airflow has taken it back."""
    airflow = Busy(refusals, "(sqlite3.OperationalError) database is locked\n[SQL: DELETE …]")
    airflow.backfill("d")
    assert refusals + 1 == airflow.asked


@pytest.mark.parametrize(("words", "asked"), [("database is locked", LOCKED), ("Could not find dag d", 1)])
def test_what_does_not_pass_is_told(words, asked):
    """Whatever else went wrong at once; a database that stays locked after some tries."""
    airflow = Busy(99, words)
    with pytest.raises(AirflowError, match=words):
        airflow.backfill("d")
    assert asked == airflow.asked
