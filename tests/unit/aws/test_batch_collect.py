"""What the ledger keeps of a job that has ended."""

from __future__ import annotations

from datetime import datetime, timezone

from airflow_batchemr.aws.batch.results import Ended, result_of
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.decide import closed, decide
from airflow_batchemr.engine.submission_facts import index_history_of
from airflow_batchemr.ledger import Failure, Result, Submission
from airflow_batchemr.ledger.state import derive_state

NOW = datetime(2026, 11, 20, tzinfo=timezone.utc)
#: As AWS words it, with ids.
DIED = "OutOfMemoryError: Container killed due to memory usage; Essential container in task exited"
SIZE = 10_000


def failures(indices, cause, reason):
    return [
        Failure(index=i, reason=reason, exit_code=137, job_id=f"54944523-9a66-4bdc-aa80-4bc130414fb7:{i}", cause=cause)
        for i in indices
    ]


def written(*ended):
    """A result as whoever comes later reads it, and how many bytes it has."""
    body = result_of(list(ended), rerun_token=None, forgiven={"stopped"}).model_dump_json(indent=1)
    return Result.model_validate_json(body), len(body)


def decided(*results, **options):
    submissions = [Submission(number, NOW, result=result) for number, result in enumerate(results, 1)]
    state = derive_state([one.number for one in submissions], submissions, None, NOW)
    return decide(state, SIZE, **options), state


def plans(decision):
    return [(plan.number, str(plan.indices), plan.memory_step) for plan in decision.claims]


def test_an_array_of_10000_that_dies_of_memory_climbs_whole_and_its_result_stays_small():
    """Each size takes all of them to the next; after the last one all have failed, and a new try begins there."""
    died = Ended(IndexSet.range(SIZE), IndexSet(), failures(range(SIZE), "oom", DIED))
    result, length = written(died)
    assert length < 500_000
    assert [(2, "0-9999", 1)] == plans(decided(result, memory_sizes=3)[0])
    assert [(3, "0-9999", 2)] == plans(decided(result, result, memory_sizes=3)[0])
    last, state = decided(result, result, result, memory_sizes=3)
    assert ("fail", "0-9999") == (last.action, str(last.failed))
    assert [(4, "0-9999", 2)] == plans(decide(state, SIZE, before=closed(state), memory_sizes=3))


def test_thousands_that_died_of_memory_leave_room_for_what_failed_otherwise():
    """The one failure of another kind is among those that are told, and does not climb."""
    died = Ended(
        IndexSet.range(SIZE), IndexSet(), [*failures(range(9_999), "oom", DIED), *failures([9_999], "exit 3", "x")]
    )
    result, _ = written(died)
    assert (1_000, 9_999) == (len(result.failures), result.failures[-1].index)
    assert [(2, "0-9998", 1)] == plans(decided(result, memory_sizes=2)[0])


def test_a_stopped_attempt_keeps_all_of_thousands_that_failed_by_themselves():
    """What the stop cut short runs again in this try; what had failed before it does not."""
    own = failures(range(3_000), "exit 7", "bad row")
    cut = failures(range(5_000, SIZE), "stopped", "batchemr: the task was cleared")
    result, length = written(Ended(IndexSet.range(SIZE), IndexSet.range(3_000, 5_000), [*own, *cut]))
    assert ("stopped", 1_000) == (result.outcome, len(result.failures))
    assert length < 500_000
    assert [(2, "5000-9999", 0)] == plans(decided(result)[0])


def test_the_history_of_an_index_beyond_the_told_ones_says_that_it_failed():
    """The ledger keeps no words of AWS for it, but its cause."""
    own = failures(range(3_000), "exit 7", "bad row")
    cut = failures(range(5_000, SIZE), "stopped", "batchemr: the task was cleared")
    result, _ = written(Ended(IndexSet.range(SIZE), IndexSet.range(3_000, 5_000), [*own, *cut]))
    _, state = decided(result)
    outcomes = [dict(index_history_of(state, {}, index)[0])["outcome"] for index in (2_999, 4_000, 6_000)]
    assert ["failed", "succeeded", "stopped"] == outcomes
