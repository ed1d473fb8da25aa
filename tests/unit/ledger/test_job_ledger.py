"""The ledger of a job: claims, handles, results, markers, reruns and leases."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.ledger import (
    CLAIM_LEASE,
    DocumentDiffersError,
    Handle,
    HandleJob,
    Ledger,
    LedgerRefusedError,
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


def test_a_new_job_has_no_records(job):
    """It has no submissions, nothing is done, and its first submission has number 1."""
    state = job.read()
    assert ([], None, IndexSet(), 1) == (state.submissions, state.marker, state.done, state.next_number)


def test_done_is_the_union_of_the_results(job, new_intent):
    """Each submission adds its successes."""
    submission(job, new_intent, 1, "0-3")
    submission(job, new_intent, 2, "5,7", indices="4-9")
    assert IndexSet.parse("0-3,5,7") == job.read().done


def test_a_number_can_be_claimed_once(job, new_intent):
    """The second claim returns False."""
    assert [job.claim(1, new_intent()), job.claim(1, new_intent())] == [True, False]


def test_one_of_many_concurrent_claims_succeeds(s3, new_intent):
    """Eight threads, each with its own ledger, repeatedly claim the same number at the same time."""
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


def test_a_claim_with_a_lost_response_succeeds(s3, job, new_intent):
    """Botocore's retry gets a 412, but the object is the claimant's own."""
    s3.lose_answer.add("PutObject")
    assert job.claim(1, new_intent())


def test_a_conflicting_write_is_retried(s3, job, new_intent):
    """S3 responds with 409 during another conditional write of the key."""
    s3.refuse["PutObject"] = [("ConditionalRequestConflict", 409)] * 2
    assert job.claim(1, new_intent())


def test_the_first_handle_is_kept(job, new_intent):
    """Later callers get the handle of the first one."""
    job.claim(1, new_intent())
    first = job.record_handle(1, Handle(kind="batch", jobs=[HandleJob(job_id="first", name="x", indices="0-9")]))
    second = job.record_handle(1, Handle(kind="batch", jobs=[HandleJob(job_id="second", name="x", indices="0-9")]))
    assert (first.jobs[0].job_id, second.jobs[0].job_id) == ("first", "first")


def test_the_first_result_is_kept(job, new_intent):
    """A result is recorded once."""
    job.claim(1, new_intent())
    job.record_result(1, result("0-4"))
    assert IndexSet.range(5) == job.record_result(1, result("0-9")).succeeded


def test_indices_of_an_open_submission_are_running(job, new_intent):
    """From the claim to the result, no other submission may run them."""
    job.claim(1, new_intent("0-4"))
    state = job.read()
    assert (IndexSet.range(5), [1]) == (state.running, [submission.number for submission in state.open_submissions])


def test_indices_that_never_reached_aws_are_not_running(job, new_intent):
    """The jobs in the handle are those that reached AWS."""
    job.claim(1, new_intent("0-9"))
    job.record_handle(1, Handle(kind="batch", jobs=[HandleJob(job_id="j", name="x-1", indices="0-4")]))
    assert IndexSet.range(5) == job.read().running


def test_reading_a_marker_takes_one_list_and_one_get(s3, job, new_intent):
    """Regardless of the number of submissions before it."""
    for number in (1, 2, 3):
        submission(job, new_intent, number, "0-9")
    job.mark(Marker(submission=3, xcom={"a": [1]}, size=10, rerun_token=None))
    s3.requests.clear()
    state = job.read()
    assert (dict(s3.requests), state.marker.xcom) == ({"ListObjectsV2": 1, "GetObject": 1}, {"a": [1]})
    assert (IndexSet.range(10), 4) == (state.done, state.next_number)


def test_a_marker_check_with_three_submissions_takes_one_list_and_three_gets(s3, job, new_intent):
    """Regardless of the size of the array, and of documents such as shard lists."""
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
    """As ranges or a bitmap, whichever is shorter."""
    submission(job, new_intent, 1, IndexSet.of(range(0, 10_000, 2)), indices=IndexSet.range(10_000))
    body = next(value[0] for key, value in s3.objects.items() if key.endswith("result.json"))
    assert len(body) < 3_000


def test_a_rerun_starts_with_nothing_done(job, new_intent):
    """After a claim with a new token, neither the marker nor earlier successes count."""
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


def test_a_crash_before_the_old_marker_is_deleted_has_no_effect(job, s3, new_intent):
    """The new intent supersedes the marker, so that the rerun is not skipped."""
    submission(job, new_intent, 1, "0-9")
    job.mark(Marker(submission=1, size=10, rerun_token=None))
    s3.refuse["DeleteObject"] = ("SlowDown", 503)
    with pytest.raises(Exception, match="SlowDown"):
        job.claim(2, new_intent("0-9", rerun_token="again"))
    state = job.read()
    assert (None, IndexSet(), [2]) == (state.marker, state.done, [one.number for one in state.open_submissions])
    assert job.marker() is not None


def test_successes_of_a_rerun_accumulate(job, new_intent):
    """Later submissions with the same token, or with none, belong to the rerun."""
    submission(job, new_intent, 1, "0-9")
    submission(job, new_intent, 2, "0-3", rerun_token="again")
    submission(job, new_intent, 3, "4-5", indices="4-9", rerun_token="again")
    submission(job, new_intent, 4, "6", indices="6-9")
    assert (IndexSet.range(7), 2) == (job.read().done, job.read().since)


def test_a_rerun_replaces_the_earlier_marker(job, s3, new_intent):
    """Even if its deletion failed."""
    submission(job, new_intent, 1, "0-9")
    job.mark(Marker(submission=1, size=10, rerun_token=None, xcom="old"))
    s3.refuse["DeleteObject"] = [("SlowDown", 503)]
    with pytest.raises(Exception, match="SlowDown"):
        job.claim(2, new_intent("0-9", rerun_token="again"))
    job.record_result(2, result(rerun_token="again"))
    job.mark(Marker(submission=2, size=10, rerun_token="again", xcom="new"))
    assert job.read().marker.xcom == "new"


def test_a_late_marker_does_not_replace_a_newer_one(job):
    """A process that hung during a rerun writes a marker that no longer counts."""
    job.mark(Marker(submission=2, size=10, rerun_token="again", xcom="new"))
    assert job.mark(Marker(submission=1, size=10, rerun_token=None, xcom="old")).xcom == "new"
    assert job.read().marker.xcom == "new"


def test_a_late_deletion_keeps_the_new_marker(job, s3, new_intent):
    """A process that claimed a rerun and then hung deletes nothing after others have finished the rerun."""
    job.mark(Marker(submission=1, size=10, rerun_token=None, xcom="old"))
    intent = new_intent("0-9", rerun_token="again")
    s3.refuse["DeleteObject"] = [("SlowDown", 503)]
    with pytest.raises(Exception, match="SlowDown"):
        job.claim(2, intent)
    job.mark(Marker(submission=2, size=10, rerun_token="again", xcom="new"))
    assert job.claim(2, intent)
    assert job.marker().xcom == "new"


def test_submissions_after_the_marker_without_a_rerun_keep_it(job, new_intent):
    """For example, a replayed shard."""
    submission(job, new_intent, 1, "0-9")
    job.mark(Marker(submission=1, size=10, rerun_token=None, xcom="x"))
    job.claim(2, new_intent("3"))
    assert job.read().marker.xcom == "x"


def test_submissions_that_still_run_at_a_rerun_are_stale(job, new_intent):
    """They have to be stopped, because their successes no longer count."""
    job.claim(1, new_intent("0-9"))
    job.claim(2, new_intent("0-9", rerun_token="again"))
    state = job.read()
    assert ([a.number for a in state.stale_submissions], [a.number for a in state.open_submissions]) == ([1], [2])


def test_a_running_submission_covered_by_a_marker_is_stale_at_a_rerun(job, new_intent):
    """Even if the number of the marker is not less than its own."""
    job.claim(1, new_intent("0-9"))
    job.mark(Marker(submission=1, size=10, rerun_token=None))
    job.claim(2, new_intent("0-9", rerun_token="again"))
    assert [submission.number for submission in job.read().stale_submissions] == [1]


def test_the_lease_uses_the_clock_of_s3(job, s3, new_intent):
    """A submission without a handle is given up only when its owner can no longer make the call."""
    job.claim(1, new_intent())
    s3.tick(CLAIM_LEASE)
    before = job.read()
    s3.tick(2)
    after = job.read()
    assert (
        before.lease_ended(before.open_submissions[0]),
        after.lease_ended(after.open_submissions[0]),
    ) == (False, True)


def test_the_owner_knows_the_rest_of_its_lease(job, new_intent, monkeypatch):
    """It counts from before the claim, so that it ends before the lease on S3's clock."""
    now = [1000.0]
    monkeypatch.setattr(job_module, "_boottime", lambda: now[0])
    job.claim(1, new_intent())
    now[0] += 20
    assert (job.lease_left(1), job.lease_left(2)) == (CLAIM_LEASE - 20, 0.0)


def test_a_repeated_claim_does_not_extend_the_lease(job, new_intent, monkeypatch):
    """The lease on S3's clock starts with the first claim."""
    now = [1000.0]
    monkeypatch.setattr(job_module, "_boottime", lambda: now[0])
    intent = new_intent()
    job.claim(1, intent)
    now[0] += 20
    job.claim(1, intent)
    assert job.lease_left(1) == CLAIM_LEASE - 20


def test_a_failed_claim_that_was_written_starts_the_lease(job, s3, new_intent, monkeypatch):
    """All responses are lost, but the object exists with S3's time of the write."""
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


def test_indices_of_an_abandoned_submission_are_not_running(job, s3, new_intent):
    """It is closed, and reading it takes one GET."""
    job.claim(1, new_intent())
    handle = job.abandon(job.read().open_submissions[0], "batch")
    s3.requests.clear()
    state = job.read()
    assert (True, [], IndexSet(), IndexSet()) == (handle.abandoned, state.open_submissions, state.running, state.done)
    assert dict(s3.requests) == {"ListObjectsV2": 1, "GetObject": 1}


def test_a_submission_with_a_handle_is_not_abandoned(job, new_intent):
    """The owner has recorded its handle in time, so the submission is adopted."""
    job.claim(1, new_intent())
    seen = job.read().open_submissions[0]
    job.record_handle(1, Handle(kind="batch", jobs=[HandleJob(job_id="j", name="x", indices="0-9")]))
    assert job.abandon(seen, "batch").jobs[0].job_id == "j"
    assert [submission.number for submission in job.read().open_submissions] == [1]


def test_a_late_owner_gets_the_abandoned_handle(job, new_intent):
    """It has to terminate the work that it has just started."""
    job.claim(1, new_intent())
    job.abandon(job.read().open_submissions[0], "batch")
    late = Handle(kind="batch", jobs=[HandleJob(job_id="j", name="x", indices="0-9")])
    assert job.record_handle(1, late).abandoned


def test_a_stop_request_can_be_read(job, new_intent):
    """With one GET, or as part of the state."""
    job.claim(1, new_intent())
    job.request_stop(1, StopRequest(reason="marked failed"))
    assert (job.stop_request(1).reason, job.read().open_submissions[0].stop.reason) == (
        "marked failed",
        "marked failed",
    )
    assert job.stop_request(2) is None


def test_history_reads_submissions_covered_by_a_marker(job, new_intent):
    """Used by history, replay and orphans."""
    submission(job, new_intent, 1, "0-9")
    job.mark(Marker(submission=1, size=10, rerun_token=None))
    one = job.history().submissions[0]
    assert ("x", "j", IndexSet.range(10)) == (one.intent.name, one.handle.jobs[0].job_id, one.result.succeeded)


def test_a_document_is_written_once(job):
    """Later callers get the bytes of the first one."""
    assert [job.put_document("packing.json", b"a"), job.put_document("packing.json", b"b")] == [b"a", b"a"]
    assert (job.get_document("packing.json"), job.get_document("array.json")) == (b"a", None)


@pytest.mark.parametrize("there", [b"", b"ab", b"abd", b"abcd"])
def test_documents_for_aws_must_have_the_same_content(job, s3, there):
    """An existing one is not changed."""
    job.put_documents({"run.sh": b"abc"})
    job.put_documents({"run.sh": b"abc", "other.sh": b"x"})
    key = job.document_uri("run.sh").removeprefix("s3://data/")
    s3.put_object(Bucket="data", Key=key, Body=there, ContentType="text/plain")
    with pytest.raises(DocumentDiffersError, match=f"aws s3 rm s3://data/{key}"):
        job.put_documents({"other.sh": b"x", "run.sh": b"abc"})
    assert there == job.get_document("run.sh")


def test_no_more_is_read_of_an_existing_document_than_it_should_have(job, s3, monkeypatch):
    """It may be of any size."""
    asked = []
    job.put_documents({"run.sh": b"abc"})
    body = SimpleNamespace(read=lambda size: asked.append(size) or b"x" * size)
    monkeypatch.setattr(s3, "get_object", lambda **_: {"Body": body})
    with pytest.raises(DocumentDiffersError):
        job.put_documents({"run.sh": b"abc"})
    assert [4] == asked


def test_documents_are_listed_by_prefix(job):
    """For example, the markers that jobs write themselves."""
    job.put_documents({"done/0001/3": b"", "done/0001/17": b"", "packing.json": b"{}"})
    assert sorted(job.documents("done/0001/")) == ["done/0001/17", "done/0001/3"]


def test_a_store_that_leaves_out_members_of_its_answers_is_refused(ledger, s3, monkeypatch):
    """It is not AWS's. The message names the member."""
    monkeypatch.setattr(s3, "list_objects_v2", lambda **_: {"IsTruncated": True})
    with pytest.raises(LedgerRefusedError, match="the answer has no NextContinuationToken"):
        ledger.pipelines()


def test_listing_goes_through_all_pages(job, s3, new_intent):
    """S3 returns up to 1,000 keys per response."""
    s3.page_size = 2
    for number in (1, 2, 3):
        submission(job, new_intent, number, str(number))
    assert IndexSet.of([1, 2, 3]) == job.read().done


def test_runs_and_jobs_are_listed(ledger, new_intent):
    """Names are returned unchanged, even if they are not safe as a part of a key."""
    names = {"score", "a/b", "_files", "..", "100%", "größe", "m[3]"}
    for name in names:
        ledger.job("d", "r", name).claim(1, new_intent())
        ledger.job("d", "r", name).put_document("array.json", b"{}")
    assert (["d"], ["r"], names) == (ledger.pipelines(), ledger.runs("d"), set(ledger.jobs("d", "r")))
