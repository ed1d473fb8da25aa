"""Whatever is written below the state URI, a reader of the ledger gets a value or an error that names the object."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from datetime import datetime, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_batchemr.aws.batch.data_arrays import data_array
from airflow_batchemr.aws.explicit_success import written
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.history import job_history_of, observed_job, run_histories
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.engine.orphans import judge
from airflow_batchemr.engine.replay import docker_command, recorded_shard, shell_text, single_request
from airflow_batchemr.engine.waiters import cleared, still_ours
from airflow_batchemr.forecast.ledger import ForecastLedger
from airflow_batchemr.ledger import (
    Handle,
    HandleJob,
    Intent,
    Ledger,
    LedgerCorruptError,
    LedgerError,
    LedgerTooNewError,
    Marker,
    NameInvalidError,
    ReadLimitError,
    Request,
    Result,
    TooManyKeysError,
)
from airflow_batchemr.ledger.content import MAX_RECORD
from airflow_batchemr.ledger.store import MAX_OBJECT
from tests.unit.hostile.bounds import bounded

KEY = "2026-11-20T000000Z"
RUN = f"_batchemr/nightly/{KEY}"
FOLDER = f"{RUN}/score/"
FIRST = f"{FOLDER}submissions/0001/"
NOW = datetime(2026, 11, 20, tzinfo=timezone.utc)
WHO = JobIdentity("s3://data/_batchemr", "nightly", KEY, "score", run_id="r", task_id="score")


def new_ledger(new_s3, objects):
    """A ledger in a new S3 with these objects: content by key."""
    s3 = new_s3()
    s3.objects = {key: (body, '"e"', NOW) for key, body in objects.items()}
    return Ledger(s3, "s3://data/_batchemr")


def record(**fields):
    return json.dumps({"schema_version": 1, "writer": "w", "written_at": "2026-11-20T00:00:00Z", **fields}).encode()


def intent(**fields):
    names = {"dag_id": "nightly", "run_key": KEY, "job": "score"}
    return {"kind": "batch", "name": "x", "requests": [], "indices": "0-9", "rerun_token": None, **names, **fields}


def marker(**fields):
    return {"submission": 1, "size": 10, "rerun_token": None, "finished_at": "2026-11-20T00:00:00Z", **fields}


def result(**fields):
    return {
        "kind": "batch", "outcome": "failed", "indices": "0-9", "succeeded": "0-3", "rerun_token": None, **fields
    }  # fmt: skip


def handle(**fields):
    return {"kind": "batch", "jobs": [{"job_id": "j", "name": "x", "indices": "0-9"}], **fields}


MAKERS = {"intent": intent, "handle": handle, "result": result, "stop": lambda **fields: {"reason": "r", **fields}}
MALFORMED = {
    "empty": b"",
    "no JSON": b"<html>",
    "not UTF-8": b'{"reason": "\xff"}',
    "a lone surrogate": b'{"reason": "\\ud800"}',
    "deep nesting": b"[" * 100_000 + b"]" * 100_000,
    "deep nesting in a record": b'{"details": ' + b'{"a": ' * 5_000 + b"1" + b"}" * 5_000 + b"}",
    "no mapping": b"[]",
    "null": b"null",
    "NaN": record(**intent()).replace(b'"0-9"', b"NaN"),
    "Infinity": record(**intent(details={"x": 1.5})).replace(b"1.5", b"1e999"),
    "Infinity without an exponent": record(**intent(details={"x": 1.5})).replace(b"1.5", b"9" * 400 + b".5"),
    "Infinity with a short exponent": record(**intent(details={"x": 1.5})).replace(b"1.5", b"9" * 300 + b"e99"),
    "a number of 5,000 digits": record(**intent()).replace(
        b'"schema_version": 1', b'"schema_version": ' + b"9" * 5_000
    ),
    "many values": b"[" + b"[]," * 1_000_000 + b"[]]",
    "a byte order mark": b"\xef\xbb\xbf{}",
}
WRONG = {
    "10^12 indices": ("intent", {"indices": "0-999999999999"}),
    "a bitmap beyond the maximum": ("intent", {"indices": "x1@9999999"}),
    "a huge bitmap": ("intent", {"indices": "x" + "f" * 1_000_000}),
    "negative indices": ("intent", {"indices": "-1"}),
    "indices as numbers": ("intent", {"indices": [0, 1]}),
    "a year of five digits": ("intent", {"written_at": "99999-01-01T00:00:00Z"}),
    "the year 1": ("intent", {"written_at": "0001-01-01T00:00:00+14:00"}),
    "the year 9999": ("intent", {"written_at": "9999-12-31T23:59:59-14:00"}),
    "a time without a zone": ("result", {"written_at": "2026-11-20T00:00:00"}),
    "a kind of the future": ("intent", {"kind": "quantum"}),
    "an array for an object": ("intent", {"requests": {"name": "x"}}),
    "a request without its name": ("intent", {"requests": [{"indices": "0", "request": {}}]}),
    "overrides as text": (
        "intent",
        {"requests": [{"name": "x", "indices": "0", "request": {"jobQueue": "q", "containerOverrides": "x"}}]},
    ),
    "a command as text": (
        "intent",
        {"requests": [{"name": "x", "indices": "0", "request": {"containerOverrides": {"command": "rm -rf /"}}}]},
    ),
    "more jobs than a submission can have": (
        "handle",
        {"jobs": [{"job_id": f"j{number}", "name": "x", "indices": "0"} for number in range(10_001)]},
    ),
    "more steps than a submission can have": ("handle", {"step_ids": {str(number): "s" for number in range(10_001)}}),
    "steps without names": (
        "intent",
        {"kind": "emr", "requests": [{"name": "x", "indices": "0", "request": {"Steps": [{}]}}]},
    ),
    "more steps than indices": (
        "intent",
        {"kind": "emr", "requests": [{"name": "x", "indices": "0", "request": {"Steps": [{"Name": "a"}] * 2}}]},
    ),
    "details as a list": ("intent", {"details": []}),
    "numbers of steps as text": ("intent", {"details": {"steps": {"one": {"digest": "d"}}}}),
    "explicit successes that are no indices": ("intent", {"details": {"explicit": "all"}}),
    "a handle without jobs": ("handle", {"jobs": []}),
    "a handle without a cluster": ("handle", {"kind": "emr"}),
    "a handle of another kind": ("handle", {"kind": "emr_serverless"}),
    "a negative number of a step": ("handle", {"kind": "emr", "cluster_id": "j-1", "step_ids": {"-1": "s-1"}}),
    "a failure of a negative index": ("result", {"failures": [{"index": -1, "reason": "r"}]}),
    "a failure of index 10^9": ("result", {"failures": [{"index": 10**9, "reason": "r"}]}),
    "causes that are no indices": ("result", {"details": {"causes": {"oom": "all"}}}),
    "causes that are a list": ("result", {"details": {"causes": ["oom"]}}),
    "jobs that are text": ("result", {"details": {"jobs": ["j"]}}),
    "jobs that are a mapping": ("result", {"details": {"jobs": {"a": 1}}}),
    "an end in 10^19 ms": ("result", {"details": {"jobs": [{"stoppedAt": 10**19}]}}),
    "a cluster that is text": ("result", {"details": {"cluster": "j-1"}}),
    "a step whose status is text": ("result", {"steps": [{"Status": "FAILED"}]}),
    "a stop without a reason": ("stop", {"reason": None}),
}
READERS = ["read", "history"]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("name", MAKERS)
def test_content_that_is_no_record_is_an_error_with_the_uri(new_s3, name, body, reader):
    """Not a ValidationError, RecursionError or UnicodeDecodeError, and within bounds of memory and steps."""
    score = new_ledger(new_s3, {f"{FIRST}{name}.json": body}).job("nightly", KEY, "score")
    with bounded(memory=20_000_000, lines=5_000), pytest.raises((LedgerCorruptError, LedgerTooNewError)) as caught:
        getattr(score, reader)()
    assert f"s3://data/{FIRST}{name}.json" in str(caught.value)
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_a_marker_that_is_no_record_is_an_error_with_the_uri(new_s3, body):
    """Also for the sensor, which reads only the marker."""
    score = new_ledger(new_s3, {f"{FOLDER}success.json": body}).job("nightly", KEY, "score")
    for read in (score.marker, score.read, lambda: score.mark(Marker(submission=1, size=1, rerun_token=None))):
        with pytest.raises((LedgerCorruptError, LedgerTooNewError), match=rf"s3://data/{FOLDER}success\.json"):
            read()


@pytest.mark.parametrize(("name", "fields"), WRONG.values(), ids=WRONG)
def test_a_record_with_a_wrong_value_is_an_error_with_the_uri(new_s3, name, fields):
    """Also where the value is only shown, or used much later."""
    made = {f"{FIRST}{one}.json": record(**MAKERS[one]()) for one in ("intent", "handle") if one != name}
    made[f"{FIRST}{name}.json"] = record(**MAKERS[name](**fields))
    score = new_ledger(new_s3, made).job("nightly", KEY, "score")
    with bounded(memory=20_000_000, lines=20_000), pytest.raises(LedgerCorruptError) as caught:
        score.history()
    assert f"s3://data/{FIRST}{name}.json" in str(caught.value)
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize(
    "fields", [{"size": -1}, {"size": 10**12}, {"submission": -1}, {"finished_at": 1e300}, {"xcom": 1, "size": "a"}]
)
def test_a_marker_with_a_wrong_value_is_an_error_with_the_uri(new_s3, fields):
    """Its size would be a bitmap of 10^12 bits."""
    score = new_ledger(new_s3, {f"{FOLDER}success.json": record(**marker(**fields))}).job("nightly", KEY, "score")
    with pytest.raises(LedgerCorruptError, match=rf"s3://data/{FOLDER}success\.json"):
        score.read()


@pytest.mark.parametrize("with_length", [True, False])
def test_a_large_record_is_not_read(new_s3, with_length):
    """200 MB took 480 MB of memory."""

    class Body:
        read_bytes = 0

        def read(self, amount):
            self.read_bytes += amount
            return b" " * min(amount, 200_000_000)

        def close(self):
            """Close the connection."""

    s3, body = new_s3(), Body()
    s3.objects = {f"{FIRST}intent.json": (b"", '"e"', NOW)}
    length = {"ContentLength": 200_000_000} if with_length else {}
    s3.get_object = lambda **_: {"Body": body, "ETag": '"e"', "LastModified": NOW, **length}
    score = Ledger(s3, "s3://data/_batchemr").job("nightly", KEY, "score")
    with (
        bounded(memory=MAX_RECORD + 1_000_000, lines=10_000),
        pytest.raises(LedgerCorruptError, match=rf"{FIRST}intent\.json .* more than 16,777,216 bytes"),
    ):
        score.read()
    assert body.read_bytes <= (0 if with_length else MAX_RECORD + 1)
    with pytest.raises(LedgerCorruptError, match="more than 67,108,864 bytes"):
        score.get_document("children/0001.json")
    assert body.read_bytes <= (0 if with_length else MAX_RECORD + MAX_OBJECT + 2)


def test_the_largest_records_can_be_read(job, new_intent):
    """100 arrays of every second index, with requests of the maximum size, and 1,000 failures."""
    indices = IndexSet.of(range(0, 1_000_000, 2))
    environment = [{"name": f"N{number}", "value": "x" * 200} for number in range(130)]
    request = {"jobQueue": "q", "jobDefinition": "d", "containerOverrides": {"environment": environment}}
    requests = [
        Request(name=f"x-{part}", indices=one, request=request) for part, one in enumerate(indices.chunks(5_000))
    ]
    assert job.claim(1, new_intent(indices.text(), requests=requests))
    job.record_handle(
        1,
        Handle(kind="batch", jobs=[HandleJob(job_id="j" * 40, name=one.name, indices=one.indices) for one in requests]),
    )
    described = [{"jobId": "j", "container": {"environment": environment}, "attempts": [{}] * 10}] * 100
    failures = [{"index": index, "reason": "r" * 500, "log_stream": "s" * 200} for index in range(1_000)]
    details = {"jobs": described, "causes": {"oom": indices.text()}}
    wanted = {"indices": indices, "succeeded": "", "failures": failures, "details": details}
    job.record_result(1, Result(kind="batch", outcome="failed", rerun_token=None, **wanted))
    (submission,) = job.history().submissions
    assert (indices, 1_000) == (submission.intent.indices, len(submission.result.failures))


@pytest.mark.parametrize(
    "folder",
    [
        "0001x",
        "00001",
        "0000",
        "99999999999",
        "9999999",
        "\u0660\u0660\u0660\u0661",
        "-001",
        "1",
        "0001/0001",
        "9" * 700,
    ],
)
def test_folders_that_are_no_submission_are_ignored(new_s3, folder):
    """Else the next claim would have a number that nobody reads, and work could run twice."""
    key = f"{FOLDER}submissions/{folder}/intent.json"
    state = new_ledger(new_s3, {key: record(**intent())}).job("nightly", KEY, "score").read()
    assert ([], 1) == (state.numbers, state.next_number)


def test_the_number_after_the_largest_one_is_not_claimed(new_s3, new_intent):
    """The claim would not be seen."""
    last = f"{FOLDER}submissions/999999/intent.json"
    score = new_ledger(new_s3, {last: record(**intent())}).job("nightly", KEY, "score")
    with pytest.raises(LedgerCorruptError, match=r"submissions/999999/ .*its number is too large"):
        score.claim(score.read().next_number, new_intent())


def test_an_open_submission_without_its_intent_is_an_error(new_s3):
    """Somebody has deleted it, and what it runs is not known."""
    emr = record(**handle(kind="emr", cluster_id="j-1", jobs=[]))
    score = new_ledger(new_s3, {f"{FIRST}handle.json": emr}).job("nightly", KEY, "score")
    with pytest.raises(LedgerCorruptError, match=rf"{FIRST}intent\.json .* does not exist"):
        score.read()


def test_a_folder_with_too_many_keys_is_an_error(new_s3):
    """A listing of millions of keys would take all memory."""
    s3 = new_s3()

    def endless(**_):
        page = [
            {"Key": f"{FOLDER}{number}", "LastModified": NOW} for number in range(endless.start, endless.start + 1000)
        ]
        endless.start += 1000
        return {"Contents": page, "IsTruncated": True, "NextContinuationToken": "t"}

    endless.start = 0
    s3.list_objects_v2 = endless
    with pytest.raises(TooManyKeysError, match=rf"s3://data/{FOLDER} has more than 100,000 objects"):
        Ledger(s3, "s3://data/_batchemr").job("nightly", KEY, "score").read()
    assert endless.start <= 102_000


@pytest.mark.parametrize("name", ["", "x" * 901, "\0" * 301, "\udcff", "🙂" * 400])
def test_names_that_no_key_can_have_are_an_error(ledger, name):
    """Also from a page's address."""
    for names in ((name, KEY, "score"), ("nightly", name, "score"), ("nightly", KEY, name)):
        with pytest.raises(NameInvalidError, match="cannot be a Dag id, run key or job"):
            ledger.job(*names)


@pytest.mark.parametrize("name", [".", "..", "../x", "a/../b", "_files", "%2E.", "a\nb", "a\0b", "?x=1", "#", "%"])
def test_a_name_stays_below_its_folder_and_is_listed_as_it_is(s3, ledger, new_intent, name):
    """Path-like names neither leave the folder nor collide with another name."""
    score = ledger.job("nightly", name, name)
    assert score.claim(1, new_intent())
    (key,) = s3.objects
    assert key.startswith("_batchemr/nightly/")
    assert not {"", ".", ".."} & set(key.split("/"))
    assert "_files" not in key.split("/")
    assert ([name], [name]) == (ledger.runs("nightly"), ledger.jobs("nightly", name))


@pytest.mark.parametrize("folder", ["", "a%41", "%ff", "%2f", "a b", "x" * 901])
def test_folders_that_are_no_quoted_name_are_not_listed(new_s3, folder):
    """Their names would stand for other folders, or could not be read."""
    found = new_ledger(new_s3, {f"{RUN}/{folder}/success.json": b""})
    assert [] == found.jobs("nightly", KEY)


def test_what_programs_write_next_to_the_records_is_not_trusted(new_s3):
    """Names of markers and waiters that no index and no try has, lists that are no lists."""
    files = f"{RUN}/_files/score/"
    names = ["done/99999999999", "done/-1", "done/3", "done/x", "done/\u0663", "waiters/0001/x", "waiters/0001/zz/a-b"]
    names += [f"waiters/0001/{'a' * 8}/{'9' * 500}-1", f"waiters/0001/{'a' * 8}/0001-3"]
    score = new_ledger(new_s3, {files + name: b"" for name in names}).job("nightly", KEY, "score")
    assert IndexSet.of([3]) == written(score, "done/")
    (state,) = [score.read()]
    assert [] == cleared(score, WHO, state.numbers)
    submission = replace(_submission(), intent=Intent(**intent()))
    assert [submission] == still_ours(score, WHO, [submission])


def _submission():
    from airflow_batchemr.ledger import Submission

    return Submission(1, NOW)


DOCUMENTS = [
    b"", b"[]", b"null", b"\xff", b"{}", b'{"kind": "rows"}',
    b'{"kind": "rm", "size": 1, "folder": "f", "inline": true, "common": ""}',
    b'{"kind": "rows", "size": 1000000000000, "folder": "f", "inline": true, "common": ""}', b"[" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("body", DOCUMENTS)
def test_the_description_of_a_data_array_is_checked(new_s3, body):
    """The error names the document."""
    score = new_ledger(new_s3, {f"{RUN}/_files/score/array.json": body}).job("nightly", KEY, "score")
    with pytest.raises(LedgerCorruptError, match=f"s3://data/{RUN}/_files/score/array.json"):
        data_array(None, score, {"rows": "s3://data/x"}, None)


@pytest.mark.parametrize("body", [b"0", b"x 1\n", b"\xff", b"9" * 5_000 + b" x\n", b"", b"1 a\n"])
def test_the_values_of_a_data_array_are_checked(new_s3, body):
    """The error names the document."""
    files = f"{RUN}/_files/score/"
    array = {"kind": "rows", "size": 1, "folder": "data-1", "inline": True, "common": ""}
    objects = {f"{files}array.json": json.dumps(array).encode(), f"{files}data-1/values/0.txt": body}
    score = new_ledger(new_s3, objects).job("nightly", KEY, "score")
    with pytest.raises(LedgerCorruptError, match=r"data-1/values/0\.txt"):
        data_array(None, score, {"rows": "s3://data/x"}, None).values(score, IndexSet.of([0]))


@pytest.mark.parametrize("body", [b"x", b"{}", b"[1]", b'[{"jobId": 1}]', b'[{"container": []}]', b"[" * 100_000])
def test_the_children_of_an_array_are_checked_when_they_are_shown(new_s3, body):
    """The error names the document."""
    objects = {f"{FIRST}{name}.json": record(**MAKERS[name]()) for name in ("intent", "handle", "result")}
    document = f"{RUN}/_files/score/children/0001.json"
    found = new_ledger(new_s3, objects | {document: body})
    with pytest.raises(LedgerCorruptError, match=f"s3://data/{document}"):
        observed_job(found, "nightly", KEY, "score", None).index_history(5)


def test_a_reader_with_a_limit_stops(new_s3):
    """Of objects, and of bytes."""
    objects = {f"{FIRST}{name}.json": record(**MAKERS[name]()) for name in ("intent", "handle", "result")}
    for limit in ((2, 10_000), (10, 10)):
        found = new_ledger(new_s3, objects)
        s3 = found._store.client
        s3.get_object = lambda s3=s3, **key: {
            **type(s3).get_object(s3, **key),
            "ContentLength": len(s3.objects[key["Key"]][0]),
        }
        found.limit_reads(*limit)
        with pytest.raises(ReadLimitError, match="was not read: at most"):
            found.job("nightly", KEY, "score").history()


def test_a_page_counts_short_values_as_more_than_their_bytes(new_s3):
    """60 MB of empty lists took 1.4 GB."""
    lists = record(**intent(details={"x": 0})).replace(b'"x": 0', b'"x": [' + b"[]," * 900_000 + b"0]")
    found = new_ledger(new_s3, {f"{RUN}/job{number}/submissions/0001/intent.json": lists for number in range(20)})
    found.limit_reads(10_000, 64 << 20)
    with bounded(memory=400_000_000, lines=20_000):
        (jobs,) = run_histories(found, "nightly", [KEY], None)
    assert ["running"] * 2 + ["unreadable"] * 18 == sorted(job.state for job in jobs)


def test_the_records_of_a_job_are_read_up_to_a_total_size(new_s3):
    """100,000 records may have 16 MiB each, which would take all memory of a worker or triggerer."""
    large = record(**result()).replace(b'"w"', b'"' + b"w" * 16_000_000 + b'"')
    score = new_ledger(new_s3, {f"{FOLDER}submissions/{number:04d}/result.json": large for number in range(1, 40)})
    with bounded(memory=600_000_000, lines=20_000), pytest.raises(ReadLimitError, match=r"256 MiB .* does not belong"):
        score.job("nightly", KEY, "score").read()


@pytest.mark.parametrize("name", ["__type", "__classname__", "__id__"])
@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: {"a": [one]}])
def test_an_xcom_from_which_airflow_would_create_objects_is_not_returned(new_s3, name, wrap):
    """The old form, `__type` and `__var`, passes Airflow's check when the XCom is written."""
    xcom = wrap({name: "airflow.sdk.definitions.connection.Connection", "__var": {"conn_id": "a"}})
    forged = new_ledger(new_s3, {f"{FOLDER}success.json": record(**marker(xcom=xcom))})
    with pytest.raises(LedgerCorruptError, match=r"score/success\.json .*xcom: .*a name begins with __"):
        forged.job("nightly", KEY, "score").read()


def test_a_newer_record_is_recognized_whatever_else_it_contains(new_s3):
    """The user learns that an upgrade is needed."""
    score = new_ledger(new_s3, {f"{FIRST}intent.json": b'{"schema_version": 2, "indices": {"a": 1}}'})
    with pytest.raises(LedgerTooNewError, match="schema version 2"):
        score.job("nightly", KEY, "score").read()


# Fuzzing: hostile values in the place of each part of each record

HOSTILE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from(
        ["", "0", "0-9", "x1@0", "x" + "f" * 50, "9" * 400, "\0", "\x1b]0;x\x07", "\u202e", "../..", "1:x"]
    ),
    st.text(max_size=20),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
    st.just([{}]),
    st.just([None]),
    st.just({"a": {"b": [1]}}),
)
CONTAINER = {
    "image": "etl:1", "command": ["/bin/sh", "-c", "BATCHEMR_INDICES", "sh", "score"], "exitCode": 1, "reason": "OOM",
    "environment": [{"name": "BATCHEMR_SUBMISSION", "value": "1"}], "logStreamName": "s",
    "resourceRequirements": [{"type": "VCPU", "value": "1"}],
}  # fmt: skip
REQUESTS = [
    {"jobQueue": "q", "jobDefinition": "d", "arrayProperties": {"size": 10}, "containerOverrides": CONTAINER,
     "parameters": {"a": "b"}, "tags": {"a": "b"}, "dependsOn": [{"jobId": "j"}]},
    {"jobQueue": "q", "jobDefinition": "d", "ecsPropertiesOverride": {"taskProperties": [{"containers": [CONTAINER]}]}},
    {"jobQueue": "q", "jobDefinition": "d", "eksPropertiesOverride": {"podProperties": {"containers": [{
        "name": "a", "command": ["a"], "args": ["b"], "env": [{"name": "a", "value": "b"}],
        "resources": {"limits": {"cpu": "1", "memory": "2Mi"}}}]}}},
    {"jobQueue": "q", "jobDefinition": "d", "nodeOverrides": {"nodePropertyOverrides": [
        {"targetNodes": "0:", "containerOverrides": CONTAINER}]}},
]  # fmt: skip
ATTEMPT = {
    "container": CONTAINER,
    "taskProperties": [{"containers": [CONTAINER], "taskArn": "a"}],
    "containers": [CONTAINER],
}
DESCRIBED = [
    {"jobId": "j", "status": "FAILED", "container": CONTAINER, "attempts": [ATTEMPT], "startedAt": 1, "stoppedAt": 2},
    {"jobId": "j", "status": "FAILED", "ecsProperties": {"taskProperties": [{"containers": [CONTAINER]}]}},
    {"jobId": "j", "status": "FAILED", "eksProperties": {"podProperties": {"containers": [CONTAINER]}},
     "eksAttempts": [{"containers": [CONTAINER], "initContainers": [CONTAINER], "podName": "p"}]},
    {"jobId": "j", "status": "FAILED", "nodeProperties": {"mainNode": 0, "numNodes": 2, "nodeRangeProperties": [
        {"targetNodes": "0:1", "container": CONTAINER}]}},
]  # fmt: skip
STEP = {
    "Id": "s-1", "Name": "a", "Status": {"State": "FAILED", "FailureDetails": {"Reason": "r"}, "Timeline": {
        "EndDateTime": "2026-11-20T00:00:00+00:00"}},
}  # fmt: skip


def parts(value, path=()):
    """The paths of all parts of a JSON value."""
    yield path
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in members:
        yield from parts(part, (*path, name))


def with_part(value, path, part):
    if not path:
        return part
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = with_part(copy[path[0]], path[1:], part)
    return copy


def without_part(value, path):
    if len(path) == 1:
        copy = dict(value) if isinstance(value, dict) else list(value)
        del copy[path[0]]
        return copy
    return with_part(value, path[:1], without_part(value[path[0]], path[1:]))


@st.composite
def ledgers(draw):
    """The records of a job, of which up to three parts have been replaced or removed."""
    emr = draw(st.booleans())
    request = {"Steps": [{"Name": "a"}], "ReleaseLabel": "emr-7.5.0"} if emr else draw(st.sampled_from(REQUESTS))
    indices = "0" if emr else "0-9"
    kind = {"kind": draw(st.sampled_from(["emr", "steps"])) if emr else "batch"}
    details = {"causes": {"oom": "5"}, "size": 10, "jobs": [] if emr else [draw(st.sampled_from(DESCRIBED))]}
    if emr:
        details |= {"cluster": STEP, "cluster_id": "j-1", "digests": {"0": "d"}, "variant": 0}
    failures = [{"index": 0 if emr else 5, "reason": "r", "exit_code": 1, "cause": "oom"}]
    made = {
        "intent": intent(
            requests=[{"name": "x", "indices": indices, "request": request}], indices=indices, **kind,
            details={"steps": {"0": {"name": "a", "digest": "d"}}, "explicit": "0", "used_by": ["a"]},
        ),
        "handle": handle(**kind) if not emr else {**kind, "cluster_id": "j-1", "step_ids": {"0": "s-1"}},
        "result": result(indices=indices, succeeded="", failures=failures, details=details, **kind,
                         steps=[STEP] if emr else []),
        "stop": {"reason": "r"},
        "success": marker(xcom={"a": [1]}),
    }  # fmt: skip
    left = draw(st.sets(st.sampled_from(["handle", "result", "stop", "success", "intent"])))
    made = {name: json.loads(record(**body)) for name, body in made.items() if name not in left}
    children = [draw(st.sampled_from(DESCRIBED))]
    for _ in range(draw(st.integers(0, 3))):
        if not made:
            break
        name = draw(st.sampled_from(sorted(made)))
        path = draw(st.sampled_from(list(parts(made[name]))))
        if path and draw(st.booleans()):
            made[name] = without_part(made[name], path)
        else:
            made[name] = with_part(made[name], path, draw(HOSTILE))
    path = draw(st.sampled_from(list(parts(children))))
    children = with_part(children, path, draw(HOSTILE)) if draw(st.booleans()) else children
    return {
        **{FIRST + name + ".json": json.dumps(body).encode() for name, body in made.items() if name != "success"},
        **{FOLDER + name + ".json": json.dumps(body).encode() for name, body in made.items() if name == "success"},
        f"{RUN}/_files/score/children/0001.json": json.dumps(children).encode(),
        f"{RUN}/_files/score/report/0001.txt": draw(st.binary(max_size=10)),
    }


def check_error(error, job=None):
    assert "s3://data/_batchemr/" in str(error)
    assert len(str(error)) < 1_500
    assert job is None or job.state == "unreadable" or "/_files/score/children/" in str(error)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(objects=ledgers(), forecast=st.booleans())
def test_every_reader_of_records_gets_a_value_or_an_error_with_the_uri(new_s3, objects, forecast):
    """History, replay, orphans, forecast and the sensor."""
    found = new_ledger(new_s3, objects)
    if forecast:
        found = ForecastLedger(found._store.client, "s3://data/_batchemr")
    with bounded(memory=50_000_000, lines=200_000):
        score = found.job("nightly", KEY, "score")
        for read in (score.marker, score.read, lambda: score.handle(1), lambda: score.stop_request(1)):
            try:
                read()
            except LedgerError as error:
                check_error(error)
        ((job,),) = run_histories(found, "nightly", [KEY], None) if found.jobs("nightly", KEY) else ((None,),)
        try:
            state = score.history()
            observed = observed_job(found, "nightly", KEY, "score", None)
            observed.history()
            observed.index_history(5)
        except LedgerError as error:
            check_error(error, job)
            return
        for number in (None, 1, 2):
            assert judge(state, number, "j-1", twins=["j-2"]).reason
        job_history_of("score", state)
        with contextlib.suppress(LookupError):
            shard = recorded_shard(state, 5)
            assert shell_text(shard)
            single_request(shard, "x")
            docker_command(replace(shard, image="etl:1"), "f", [], host_network=False)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=st.sampled_from(["intent", "handle", "result", "stop"]), body=st.binary(max_size=200))
def test_any_bytes_are_a_record_or_an_error(new_s3, name, body):
    """Nothing else can come out of reading."""
    score = new_ledger(new_s3, {f"{FIRST}{name}.json": body}).job("nightly", KEY, "score")
    try:
        score.history()
    except LedgerError as error:
        check_error(error)


def test_records_of_version_0_1_0_are_read(new_s3):
    """As the first release wrote them."""
    objects = {f"{FIRST}{name}.json": body.encode() for name, body in FIRST_RELEASE.items()}
    state = new_ledger(new_s3, objects).job("nightly", KEY, "score").history()
    (submission,) = state.submissions
    assert (IndexSet.parse("0-1"), "failed") == (submission.succeeded, submission.result.outcome)


FIRST_RELEASE = {
    "intent": """{"schema_version": 1, "writer": "a1", "written_at": "2026-11-20T00:00:00.123456Z", "kind": "batch",
        "name": "nightly-score-a0001", "requests": [{"name": "nightly-score-a0001", "indices": "0-2", "request":
        {"jobName": "nightly-score-a0001", "jobQueue": "q", "jobDefinition": "d:1", "arrayProperties": {"size": 3}}}],
        "indices": "0-2", "rerun_token": null, "try_number": 1, "dag_id": "nightly", "run_key": "k", "job": "score",
        "run_id": "r", "task_id": "score", "map_index": -1, "details": {"size": 3}}""",
    "handle": """{"schema_version": 1, "writer": "a1", "written_at": "2026-11-20T00:00:01Z", "kind": "batch",
        "jobs": [{"job_id": "j", "name": "nightly-score-a0001", "indices": "0-2"}], "cluster_id": null, "step_ids": {},
        "abandoned": false, "details": {}}""",
    "result": """{"schema_version": 1, "writer": "a1", "written_at": "2026-11-20T00:05:00Z", "kind": "batch",
        "outcome": "failed", "indices": "0-2", "succeeded": "0-1", "rerun_token": null, "failures": [{"index": 2,
        "reason": "Essential container in task exited", "exit_code": 65, "job_id": "j:2", "log_stream": "s",
        "cause": "exit 65"}], "details": {"causes": {"exit 65": "2"}, "jobs": [{"jobId": "j", "status": "FAILED",
        "createdAt": 1763596800000, "stoppedAt": 1763597100000}]}, "steps": []}""",
}
