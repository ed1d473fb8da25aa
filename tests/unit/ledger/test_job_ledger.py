"""What an attempt's records do for whoever comes next."""

from __future__ import annotations

import threading

import pytest

from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.ledger import (
    CLAIM_LEASE,
    Handle,
    HandleJob,
    Ledger,
    LedgerUnavailableError,
    Marker,
    Result,
    StopRequest,
)
from airflow_batchemr.ledger import job as job_module


def result(succeeded="0-9", indices="0-9", rerun_token=None, outcome="failed"):
    return Result(kind="batch", outcome=outcome, indices=indices, succeeded=succeeded, rerun_token=rerun_token)


def submission(job, new_intent, number, succeeded, *, indices="0-9", rerun_token=None):
    assert job.claim(number, new_intent(indices, rerun_token=rerun_token))
    job.record_handle(number, Handle(kind="batch", jobs=[HandleJob(job_id="j", name="x", indices=indices)]))
    job.record_result(number, result(succeeded, indices, rerun_token))


def test_nothing_stands_at_first(job):
    """An untouched job has no attempts, nothing done, and its first attempt is number 1."""
    state = job.read()
    assert ([], None, IndexSet(), 1) == (state.submissions, state.marker, state.done, state.next_number)


def test_what_is_done_is_the_union_of_the_results(job, new_intent):
    """Each attempt adds what it has finished."""
    submission(job, new_intent, 1, "0-3")
    submission(job, new_intent, 2, "5,7", indices="4-9")
    assert IndexSet.parse("0-3,5,7") == job.read().done


def test_one_claimant_wins(job, new_intent):
    """The second to claim a number is told so, whatever it claims."""
    assert [job.claim(1, new_intent()), job.claim(1, new_intent())] == [True, False]


def test_of_many_claimants_at_once_exactly_one_wins(s3, new_intent):
    """Eight actors, each with a ledger of its own, claim the same number at the same moment, again and again."""
    for number in range(1, 21):
        barrier = threading.Barrier(8)
        won = []

        def claim(number=number, barrier=barrier, won=won):
            job = Ledger(s3, "s3://data/_batchemr").job("d", "r", "j")
            barrier.wait()
            if job.claim(number, new_intent()):
                won.append(number)

        threads = [threading.Thread(target=claim) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [number] == won


def test_a_claim_whose_answer_was_lost_is_ones_own(s3, job, new_intent):
    """The put is sent again by botocore and answered 412, although the object is what we wrote."""
    s3.lose_answer.add("PutObject")
    assert job.claim(1, new_intent())


def test_a_conflicting_write_is_tried_again(s3, job, new_intent):
    """S3 answers 409 while another conditional write of the key is under way."""
    s3.refuse["PutObject"] = [("ConditionalRequestConflict", 409)] * 2
    assert job.claim(1, new_intent())


def test_the_first_handle_stands(job, new_intent):
    """Who is second gets the handle of who was first."""
    job.claim(1, new_intent())
    first = job.record_handle(1, Handle(kind="batch", jobs=[HandleJob(job_id="first", name="x", indices="0-9")]))
    second = job.record_handle(1, Handle(kind="batch", jobs=[HandleJob(job_id="second", name="x", indices="0-9")]))
    assert (first.jobs[0].job_id, second.jobs[0].job_id) == ("first", "first")


def test_the_first_result_stands(job, new_intent):
    """A result is recorded once, whoever collects it."""
    job.claim(1, new_intent())
    job.record_result(1, result("0-4"))
    assert IndexSet.range(5) == job.record_result(1, result("0-9")).succeeded


def test_an_open_attempt_has_its_indices_in_hand(job, new_intent):
    """From the claim to the result nobody else may run them."""
    job.claim(1, new_intent("0-4"))
    state = job.read()
    assert (IndexSet.range(5), [1]) == (state.running, [submission.number for submission in state.open_submissions])


def test_what_a_half_submitted_attempt_did_not_start_is_free(job, new_intent):
    """The handle's jobs say what reached AWS."""
    job.claim(1, new_intent("0-9"))
    job.record_handle(1, Handle(kind="batch", jobs=[HandleJob(job_id="j", name="x-1", indices="0-4")]))
    assert IndexSet.range(5) == job.read().running


def test_a_standing_marker_costs_one_list_and_one_get(s3, job, new_intent):
    """However many attempts there were before it."""
    for number in (1, 2, 3):
        submission(job, new_intent, number, "0-9")
    job.mark(Marker(submission=3, xcom={"a": [1]}, size=10, rerun_token=None))
    s3.requests.clear()
    state = job.read()
    assert (dict(s3.requests), state.marker.xcom) == ({"ListObjectsV2": 1, "GetObject": 1}, {"a": [1]})
    assert (IndexSet.range(10), 4) == (state.done, state.next_number)


def test_a_marker_check_of_10000_with_three_attempts_costs_one_list_and_four_gets_at_most(s3, job, new_intent):
    """Whatever the size of the array, also where the shards' lists have been written."""
    job.put_documents({f"shards/{index:05d}.txt": b"s3://data/x" for index in range(2_000)})
    everything = IndexSet.range(10_000)
    odd = IndexSet.of(range(1, 10_000, 2))
    submission(job, new_intent, 1, odd, indices=everything)
    submission(job, new_intent, 2, IndexSet.of(range(0, 9_000, 2)), indices=everything - odd)
    submission(job, new_intent, 3, IndexSet(), indices=IndexSet.of(range(9_000, 10_000, 2)))
    s3.requests.clear()
    state = job.read()
    assert dict(s3.requests) == {"ListObjectsV2": 1, "GetObject": 3}
    assert IndexSet.of(range(9_000, 10_000, 2)) == everything - state.done


def test_a_result_of_10000_scattered_indices_is_small(job, s3, new_intent):
    """Ranges or a bitmap, whichever is shorter."""
    submission(job, new_intent, 1, IndexSet.of(range(0, 10_000, 2)), indices=IndexSet.range(10_000))
    body = next(value[0] for key, value in s3.objects.items() if key.endswith("result.json"))
    assert len(body) < 3_000


def test_a_rerun_starts_from_nothing(job, new_intent):
    """From the claim with a fresh token on, neither the marker nor what was done before it counts."""
    submission(job, new_intent, 1, "0-9")
    job.mark(Marker(submission=1, size=10, rerun_token=None))
    job.claim(2, new_intent("0-9", rerun_token="again"))
    state = job.read()
    assert (None, IndexSet(), IndexSet.range(10), "again") == (
        state.marker,
        state.done,
        state.running,
        state.rerun_token,
    )
    assert job.marker() is None


def test_a_crash_before_the_old_marker_is_gone_changes_nothing(job, s3, new_intent):
    """The fresh intent outweighs the marker, so that nobody skips the rerun."""
    submission(job, new_intent, 1, "0-9")
    job.mark(Marker(submission=1, size=10, rerun_token=None))
    s3.refuse["DeleteObject"] = ("SlowDown", 503)
    with pytest.raises(Exception, match="SlowDown"):
        job.claim(2, new_intent("0-9", rerun_token="again"))
    state = job.read()
    assert (None, IndexSet(), [2]) == (state.marker, state.done, [one.number for one in state.open_submissions])
    assert job.marker() is not None


def test_the_tries_of_a_rerun_add_up(job, new_intent):
    """Attempts with the same token, or none, go on with the rerun that they follow."""
    submission(job, new_intent, 1, "0-9")
    submission(job, new_intent, 2, "0-3", rerun_token="again")
    submission(job, new_intent, 3, "4-5", indices="4-9", rerun_token="again")
    submission(job, new_intent, 4, "6", indices="6-9")
    assert (IndexSet.range(7), 2) == (job.read().done, job.read().since)


def test_a_rerun_marks_over_the_marker_before_it(job, s3, new_intent):
    """The old marker is replaced where its removal was cut short."""
    submission(job, new_intent, 1, "0-9")
    job.mark(Marker(submission=1, size=10, rerun_token=None, xcom="old"))
    s3.refuse["DeleteObject"] = [("SlowDown", 503)]
    with pytest.raises(Exception, match="SlowDown"):
        job.claim(2, new_intent("0-9", rerun_token="again"))
    job.record_result(2, result(rerun_token="again"))
    job.mark(Marker(submission=2, size=10, rerun_token="again", xcom="new"))
    assert job.read().marker.xcom == "new"


def test_a_late_marker_does_not_replace_a_newer_one(job):
    """Somebody who slept through a rerun marks what no longer counts."""
    job.mark(Marker(submission=2, size=10, rerun_token="again", xcom="new"))
    assert job.mark(Marker(submission=1, size=10, rerun_token=None, xcom="old")).xcom == "new"
    assert job.read().marker.xcom == "new"


def test_a_late_removal_spares_the_new_marker(job, s3, new_intent):
    """Who claimed a rerun, slept, and wakes when it has been finished by others, removes nothing."""
    job.mark(Marker(submission=1, size=10, rerun_token=None, xcom="old"))
    intent = new_intent("0-9", rerun_token="again")
    s3.refuse["DeleteObject"] = [("SlowDown", 503)]
    with pytest.raises(Exception, match="SlowDown"):
        job.claim(2, intent)
    job.mark(Marker(submission=2, size=10, rerun_token="again", xcom="new"))
    assert job.claim(2, intent)
    assert job.marker().xcom == "new"


def test_attempts_after_the_marker_without_a_rerun_leave_it_standing(job, new_intent):
    """A replayed shard is an attempt, too."""
    submission(job, new_intent, 1, "0-9")
    job.mark(Marker(submission=1, size=10, rerun_token=None, xcom="x"))
    job.claim(2, new_intent("3"))
    assert job.read().marker.xcom == "x"


def test_attempts_of_before_a_rerun_that_still_run_are_told(job, new_intent):
    """They have to be stopped, since what they do no longer counts."""
    job.claim(1, new_intent("0-9"))
    job.claim(2, new_intent("0-9", rerun_token="again"))
    state = job.read()
    assert ([a.number for a in state.stale_submissions], [a.number for a in state.open_submissions]) == ([1], [2])


def test_an_attempt_still_running_when_its_marker_is_overtaken_is_told(job, new_intent):
    """Also where the marker covers its number."""
    job.claim(1, new_intent("0-9"))
    job.mark(Marker(submission=1, size=10, rerun_token=None))
    job.claim(2, new_intent("0-9", rerun_token="again"))
    assert [submission.number for submission in job.read().stale_submissions] == [1]


def test_the_lease_goes_by_the_clock_of_s3(job, s3, new_intent):
    """An attempt without a handle is given up only when its owner can no longer be about to call."""
    job.claim(1, new_intent())
    s3.tick(CLAIM_LEASE)
    before = job.read()
    s3.tick(2)
    after = job.read()
    assert (
        before.lease_ended(before.open_submissions[0]),
        after.lease_ended(after.open_submissions[0]),
    ) == (False, True)


def test_the_owner_knows_how_long_it_may_still_call(job, new_intent, monkeypatch):
    """The time is counted from before the claim, so that it ends before S3's does."""
    now = [1000.0]
    monkeypatch.setattr(job_module, "_boottime", lambda: now[0])
    job.claim(1, new_intent())
    now[0] += 20
    assert (job.lease_left(1), job.lease_left(2)) == (CLAIM_LEASE - 20, 0.0)


def test_a_second_claim_of_ones_own_does_not_lengthen_the_lease(job, new_intent, monkeypatch):
    """S3's clock started at the first."""
    now = [1000.0]
    monkeypatch.setattr(job_module, "_boottime", lambda: now[0])
    intent = new_intent()
    job.claim(1, intent)
    now[0] += 20
    job.claim(1, intent)
    assert job.lease_left(1) == CLAIM_LEASE - 20


def test_a_claim_that_failed_with_its_effect_has_begun_the_lease(job, s3, new_intent, monkeypatch):
    """No answer came, not even to botocore's retries; the object is there, with S3's time of then."""
    now = [1000.0]
    monkeypatch.setattr(job_module, "_boottime", lambda: now[0])
    intent = new_intent()
    s3.lose_answer.add("PutObject")
    s3.refuse["GetObject"] = [("InternalError", 500)]
    with pytest.raises(LedgerUnavailableError):
        job.claim(1, intent)
    now[0] += 20
    assert job.claim(1, intent)
    assert job.lease_left(1) == CLAIM_LEASE - 20


def test_an_abandoned_attempt_sets_its_indices_free(job, s3, new_intent):
    """It is closed for good, and read with one GET from then on."""
    job.claim(1, new_intent())
    handle = job.abandon(job.read().open_submissions[0], "batch")
    s3.requests.clear()
    state = job.read()
    assert (True, [], IndexSet(), IndexSet()) == (handle.abandoned, state.open_submissions, state.running, state.done)
    assert dict(s3.requests) == {"ListObjectsV2": 1, "GetObject": 1}


def test_an_owner_that_was_faster_is_not_abandoned(job, new_intent):
    """Its handle stands, and is to be adopted."""
    job.claim(1, new_intent())
    seen = job.read().open_submissions[0]
    job.record_handle(1, Handle(kind="batch", jobs=[HandleJob(job_id="j", name="x", indices="0-9")]))
    assert job.abandon(seen, "batch").jobs[0].job_id == "j"
    assert [submission.number for submission in job.read().open_submissions] == [1]


def test_an_owner_that_was_slower_learns_that_it_was_abandoned(job, new_intent):
    """It has to terminate what it has just started."""
    job.claim(1, new_intent())
    job.abandon(job.read().open_submissions[0], "batch")
    late = Handle(kind="batch", jobs=[HandleJob(job_id="j", name="x", indices="0-9")])
    assert job.record_handle(1, late).abandoned


def test_a_stop_word_is_seen(job, new_intent):
    """Whoever waits reads it with one GET, and whoever comes next with the state."""
    job.claim(1, new_intent())
    job.request_stop(1, StopRequest(reason="marked failed"))
    assert (job.stop_request(1).reason, job.read().open_submissions[0].stop.reason) == (
        "marked failed",
        "marked failed",
    )
    assert job.stop_request(2) is None


def test_history_reads_what_a_marker_covers(job, new_intent):
    """For people, replay and the search for orphans."""
    submission(job, new_intent, 1, "0-9")
    job.mark(Marker(submission=1, size=10, rerun_token=None))
    one = job.history().submissions[0]
    assert ("x", "j", IndexSet.range(10)) == (one.intent.name, one.handle.jobs[0].job_id, one.result.succeeded)


def test_a_document_is_written_once(job):
    """Who is second gets the bytes of who was first."""
    assert [job.put_document("packing.json", b"a"), job.put_document("packing.json", b"b")] == [b"a", b"a"]
    assert (job.get_document("packing.json"), job.get_document("array.json")) == (b"a", None)


def test_documents_are_listed_by_their_beginning(job):
    """Such as the markers that jobs write themselves."""
    job.put_documents({"done/0001/3": b"", "done/0001/17": b"", "packing.json": b"{}"})
    assert sorted(job.documents("done/0001/")) == ["done/0001/17", "done/0001/3"]


def test_listing_goes_through_all_pages(job, s3, new_intent):
    """S3 gives 1,000 keys an answer."""
    s3.page_size = 2
    for number in (1, 2, 3):
        submission(job, new_intent, number, str(number))
    assert IndexSet.of([1, 2, 3]) == job.read().done


def test_runs_and_jobs_are_found(ledger, new_intent):
    """Names come back as they went in, also those that are no safe part of a key."""
    names = {"score", "a/b", "_files", "..", "100%", "größe", "m[3]"}
    for name in names:
        ledger.job("d", "r", name).claim(1, new_intent())
        ledger.job("d", "r", name).put_document("array.json", b"{}")
    assert (["d"], ["r"], names) == (ledger.pipelines(), ledger.runs("d"), set(ledger.jobs("d", "r")))
