"""Whoever writes a log decides its size, its lines and its bytes. What reads logs stays within bounds.

The bounds are on memory and on executed lines of Python, which do not see what runs in C: the time of the regular
expressions is the subject of `test_regular_expressions`, and what is called once per line or per match gets cut text.
"""

from __future__ import annotations

import gzip
import itertools
import subprocess
import sys
import time
import zlib

import boto3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_batchemr.aws import logs as cloudwatch
from airflow_batchemr.aws.clients import boto3_clients
from airflow_batchemr.aws.emr import logs
from airflow_batchemr.aws.emr.diagnosis import Log, exit_code, probable_cause
from airflow_batchemr.aws.emr.failure_report import DIAGNOSED, failure_report
from airflow_batchemr.aws.emr.logs import BEGINNING, END, ClusterLogs, StepTail, _unpack
from airflow_batchemr.aws.logs import LogFollower, tail
from airflow_batchemr.core.log_lines import LINE, LIVE_LINE, LIVE_LINES
from airflow_batchemr.engine.failure_report import group, report
from airflow_batchemr.ledger import Failure, Result
from tests.unit.hostile.bounds import bounded

STEP = "emr/j-1/steps/s-1"
#: Longest line that is copied to the task log, with the note that it was cut.
LONGEST = LIVE_LINE + 50


def bomb(megabytes):
    """A gzip file of one letter, a thousandth of its size."""
    packer = zlib.compressobj(9, wbits=31)
    packed = [packer.compress(b"x" * 2**20) for _ in range(megabytes)]
    return b"".join([*packed, packer.flush()])


def in_chunks(data, size=logs.CHUNK):
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.fixture
def s3(local_aws):
    """A real client and server."""
    client = boto3.client("s3")
    client.create_bucket(Bucket="logs")
    return client


@pytest.fixture
def upload(s3):
    """`upload(text, kind="stderr")` uploads a log of the step."""

    def put(text, kind="stderr", folder=STEP):
        body = text if isinstance(text, bytes) else gzip.compress(text.encode())
        s3.put_object(Bucket="logs", Key=f"{folder}/{kind}.gz", Body=body)

    return put


# --- unpacking ---


def test_a_small_file_that_unpacks_to_a_gigabyte_takes_little_memory(upload):
    """583 kB took 1.16 GB of a worker and of a triggerer. The text tells that the rest was not read."""
    packed = bomb(580)
    assert len(packed) < 600_000
    upload(packed)
    clients = boto3_clients()
    assert "s3" == clients.s3.meta.service_model.service_name
    with bounded(memory=20 * 2**20, lines=200_000):
        (log,) = ClusterLogs(clients, "s3://logs/emr/", "j-1").step("s-1")
    assert len(log.text) < 30_000
    assert log.text.endswith("(the log has more than 268,435,456 bytes: the rest was not read)")
    with bounded(memory=20 * 2**20, lines=200_000):
        lines = StepTail(clients, "s3://logs/emr/", "j-1", "s-1").take()
    assert max(map(len, lines)) <= LONGEST


def test_the_end_of_a_log_of_many_megabytes_is_read():
    """It contains the failure."""
    text = b"26/11/20 10:00:00 INFO Client: chatter\n" * 500_000 + b"ValueError: bad row"
    found = _unpack(in_chunks(gzip.compress(text)))
    assert (len(text), "") == (found.size, found.note)
    lines = found.text().splitlines()
    assert "ValueError: bad row" == lines[-1]
    assert "..." in lines
    assert sum(map(len, lines)) < BEGINNING + END + 10


@pytest.mark.parametrize("member", [b"", b"x"], ids=["empty", "of one byte"])
def test_many_gzip_members_are_not_read(member):
    """Each would copy the rest of its chunk."""
    data = gzip.compress(member) * 100_000
    with bounded(memory=10 * 2**20, lines=500_000):
        found = _unpack(in_chunks(data))
    assert found.size <= logs.MEMBERS
    assert found.text().endswith("(the rest of the log was not read: it has more than 10,000 gzip members)")


def test_a_large_object_is_not_read_to_its_end():
    """A log that cannot be packed is read up to 64 MiB."""
    stored = zlib.compressobj(0, wbits=31)
    endless = (stored.compress(bytes(2**16)) for _ in itertools.count())
    with bounded(memory=10 * 2**20, lines=500_000):
        found = _unpack(endless)
    assert found.size <= logs.PACKED
    assert "the rest of the log was not read: it has more than 67,108,864 bytes, packed" in found.note


def test_padding_and_truncation_do_not_hide_what_is_there():
    """A log that is being written ends anywhere."""
    packed = gzip.compress(b"one\ntwo\n")
    assert "one\ntwo" == _unpack([packed + bytes(512)]).text()
    assert "" != _unpack([gzip.compress(b"line\n" * 10_000)[:40]]).text()
    with pytest.raises(zlib.error):
        _unpack([b"no gzip at all"])


def test_one_report_reads_a_bounded_number_of_logs(s3, upload):
    """Of bootstrap actions that EMR does not name, and of failed steps."""
    for number in range(60):
        upload("failed", folder=f"emr/j-1/node/i-{number:03}/bootstrap-actions/1")
    found = ClusterLogs(boto3_clients(), "s3://logs/emr/", "j-1").bootstrap("a bootstrap action failed")
    assert logs.BOOTSTRAP_LOGS == len(found)
    named = "On 2 core instances (including i-007 and i-008), bootstrap action 1 returned a non-zero return code"
    found = ClusterLogs(boto3_clients(), "s3://logs/emr/", "j-1").bootstrap(named)
    assert ["s3://logs/emr/j-1/node/i-007/bootstrap-actions/1/stderr.gz"] == [log.uri for log in found]
    clients = boto3_clients()
    reads = []
    clients.s3.meta.events.register("before-call.s3.GetObject", lambda **_: reads.append(1))
    failures = [Failure(reason="failed", index=number, job_id=f"s-{number}") for number in range(300)]
    details = {
        "cluster_id": "j-1",
        "cluster": {"Name": "x", "LogUri": "s3://logs/emr/", "Status": {"State": "RUNNING"}},
    }
    given = {"kind": "emr", "indices": "0-299", "succeeded": "", "rerun_token": None}
    result = Result(outcome="failed", failures=failures, details=details, **given)
    text = failure_report(clients, None, 1, result, {}).text
    assert 3 * DIAGNOSED == len(reads)
    assert "Step 300  (s-299) failed: failed" in text


# --- the text of the logs ---

#: Texts that took seconds to minutes each, and others of their kind.
HOSTILE = {
    "a long line": "x" * 450_000,
    "a long name": "org." * 110_000 + "x",
    "a long identifier": "a" * 450_000,
    "many names": "a.bError " * 50_000,
    "killed containers": "Container from a bad node" * 18_000,
    "processes beyond memory": "Container [pid=1" * 28_000,
    "a file that exists": "error File " * 40_000,
    "a setting": "error spark.x " * 30_000,
    "a long setting": "error " + "spark." * 70_000,
    "many syntax errors": '  File "a.py", line 1\n    x\nSyntaxError: invalid syntax\n' * 8_000,
    "many tracebacks": "  Traceback (most recent call last):\n" * 12_000,
    "one long traceback": "Traceback (most recent call last):\n" + '  File "a.py", line 1, in x\n' * 16_000,
    "many causes": "a.BError\n\tat x.y(Z)\nCaused by: a.CError\n" * 11_000,
    "empty lines": "\n" * 450_000,
    "short lines": "x\n" * 225_000,
    "spaces": " " * 450_000,
    "commands": "INFO startExec 'x\n" * 25_000,
    "one command": "INFO startExec '" * 25_000,
    "escape sequences": "\x1b[0" * 150_000,
    "query plans": ";\n'" * 150_000,
    "applications": "application_1_" * 32_000,
}
CHILD = """\
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (60, 61))
from airflow_batchemr.aws.emr.diagnosis import Log, exit_code, probable_cause
from tests.unit.hostile.test_hostile_logs import HOSTILE
for text in HOSTILE.values():
    for name in ("stderr", "controller"):
        log = Log(name, "", text)
        str(probable_cause([log]))
        exit_code([log])
"""


def test_hostile_logs_are_diagnosed_in_bounded_cpu_time():
    """One line of 40 kB took five seconds, and stopped the event loop. All of these take some seconds together."""
    assert 0 == subprocess.run([sys.executable, "-c", CHILD], check=False).returncode


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("log", ["stderr", "controller"])
def test_the_cause_of_a_hostile_log_is_short(name, log):
    """It becomes part of the error that Airflow shows."""
    cause = probable_cause([Log(log, "", HOSTILE[name])])
    assert cause is None or (len(cause.message) <= 650 and len(str(cause)) <= 1_500)


def test_a_failure_after_a_long_line_is_found():
    """And one that the long line itself begins with."""
    text = f"{'x' * 400_000}\nValueError\nTraceback (most recent call last):\n  File 'a'\nKeyError: {'y' * 40_000}\n"
    found = probable_cause([Log("stderr", "", text)])
    assert "KeyError" == found.exception
    assert found.message.startswith("yyy")
    assert len(found.message) < 650


def test_color_in_a_log_does_not_hide_an_exception():
    """The sequences of a terminal are no part of a name."""
    text = "\x1b[31morg.apache.spark.SparkException\x1b[0m: no such shard\n\tat shop.Orders.main(Orders.scala:7)\n"
    found = probable_cause([Log("stderr", "", text)])
    assert ("SparkException", "no such shard", "Orders.scala:7 in Orders.main") == (
        found.exception,
        found.message,
        found.place,
    )


def test_an_endless_exit_code_is_no_exit_code():
    """`int` refuses text of more than 4,300 digits."""
    assert exit_code([Log("controller", "", f"WARN Step failed with exitCode {'1' * 5_000}")]) is None


# --- live lines ---


def test_the_new_lines_of_a_growing_log_are_shown_once_and_bounded(upload):
    """Also when only its beginning and its end are held; then none were shown."""
    following = StepTail(boto3_clients(), "s3://logs/emr/", "j-1", "s-1")
    text = ""
    for number in range(4):
        flood = "".join(f"{number} flood {line} {'x' * 200}\n" for line in range(1_500))
        text += f"{flood}{'y' * 100_000}\nend {number}\n"
        upload(text)
        lines = following.take()
        assert LIVE_LINES + 1 == len(lines)
        assert max(map(len, lines)) <= LONGEST
        assert f"end {number}" == lines[-1]
        assert "earlier lines are in the step's own log only)" in lines[0]
        assert [] == following.take()
    upload(text + "last\n")
    assert ["last"] == following.take()


class Flood:
    """FilterLogEvents of a stream to which a program writes without end."""

    def __init__(self, ahead=0):
        self.number = 0
        self.ahead = ahead

    def polling(self, _service):
        return self

    def filter_log_events(self, *, nextToken="", **_):  # noqa: N803 - AWS's name
        now = int(time.time() * 1000) + self.ahead
        events = [
            {"eventId": str(number), "timestamp": now, "logStreamName": "a", "message": "x" * 5_000}
            for number in range(self.number, self.number + 3_000)
        ]
        self.number += len(events)
        return {"events": events, "nextToken": "more"}


@pytest.mark.parametrize("ahead", [0, 7_000_000], ids=["now", "with times ahead"])
def test_a_stream_that_never_ends_is_forwarded_within_bounds(ahead, monkeypatch):
    """With the number of lines that were left out. CloudWatch accepts times up to two hours ahead."""
    monkeypatch.setattr(cloudwatch, "KEPT_IDS", 2_000)
    monkeypatch.setattr(cloudwatch, "MAX_PAGES", 4)
    follower = LogFollower(Flood(ahead))
    id_ = LogFollower.id_of("g", "a")
    with bounded(memory=40 * 2**20, lines=30_000_000):
        for _ in range(2):
            lines = follower.look_again(id_)
            assert LIVE_LINES + 1 == len(lines)
            assert max(map(len, lines)) <= LONGEST
    assert "earlier lines are in CloudWatch only)" in lines[0]
    assert follower.remembered() <= 2_000


def test_the_tail_of_a_stream_is_cut(local_aws):
    """An event of CloudWatch has up to a megabyte."""
    client = boto3.client("logs")
    client.create_log_group(logGroupName="g")
    client.create_log_stream(logGroupName="g", logStreamName="a")
    event = {"timestamp": int(time.time() * 1000), "message": "x" * 200_000}
    client.put_log_events(logGroupName="g", logStreamName="a", logEvents=[event])
    (line,) = tail(boto3_clients(), "g", "a")
    assert len(line) <= LONGEST
    assert line.endswith("… (198,000 more characters)")


# --- all of it, with random hostile text ---

FRAGMENTS = st.sampled_from(
    [
        *("Traceback (most recent call last):", '  File "a.py", line 1, in x', "ValueError: x", "    x", "", " ", "\t"),
        *("a.b.CException: x", "Caused by: a.BError: y", "\tat a.b.C(D.java:1)", "SyntaxError: x", "Traceback", "'"),
        *("Container killed on request. Exit code is 137", "26/11/20 01:02:34 ERROR x: failed", "application_1_1"),
        *(
            "\x1b[31m",
            "\x00",
            "\u2028",
            "\u202e",
            "\r",
            "\x85",
            "é",
            "\U0001f600",
            "exit code 1",
            "File x does not exist",
        ),
        *("Step failed with exitCode 1", "INFO startExec '", "i-0abc", "0123456789abcdef", "12", "-", ".", "$", "/"),
    ]
) | st.text(max_size=20)
TEXTS = st.lists(
    st.tuples(FRAGMENTS, st.sampled_from(["", "\n", " ", "."]), st.integers(1, 300)), min_size=1, max_size=12
).map(lambda parts: "".join((fragment + end) * times for fragment, end, times in parts))
NAMES = st.sampled_from(["stderr", "stdout", "controller", "driver stdout"])
#: Bounds in proportion to the text.
LINES_A_CHARACTER, BYTES_A_CHARACTER, FREE = 60, 400, 2 * 2**20
#: Compiling the expressions that `re` has not cached, or no longer.
FREE_LINES = 500_000


@settings(max_examples=60)
@given(st.lists(st.tuples(NAMES, TEXTS), max_size=3))
def test_any_text_is_diagnosed_within_bounds(named):
    """Without an error."""
    size = sum(len(text) for _, text in named)
    with bounded(memory=FREE + BYTES_A_CHARACTER * size, lines=FREE_LINES + LINES_A_CHARACTER * size):
        found = [Log(name, "", text) for name, text in named]
        cause = probable_cause(found)
        exit_code(found)
        shown = str(cause)
    assert len(shown) <= 1_500


@settings(max_examples=60)
@given(TEXTS, st.integers(1, 5_000), st.integers(1, 4), st.integers(0, 40), st.booleans())
def test_any_gzip_file_is_unpacked_within_bounds(text, size, members, cut, damaged):
    """In chunks of any size, truncated or damaged, with several members."""
    data = text.encode("utf-8", "replace") * members
    part = -(-len(data) // members) or 1
    packed = b"".join(gzip.compress(data[start : start + part]) for start in range(0, len(data), part))
    whole = packed
    if cut:
        packed = packed[:-cut]
    if damaged:
        packed = packed[:30] + b"\xff" * 8 + packed[38:]
    chunks = in_chunks(packed, size)
    with bounded(memory=FREE + BYTES_A_CHARACTER * len(data), lines=5_000 + 60 * len(data)):
        try:
            found = _unpack(chunks)
            lines = found.text().splitlines()
        except zlib.error:
            assert packed != whole
            return
    assert all(len(line) <= LINE + 50 for line in lines)
    assert len(lines) <= found.size + 3
    if packed == whole:
        assert len(data) == found.size
        expected = data if len(data) <= BEGINNING + END else data[:BEGINNING] + b"\n...\n" + data[-END:]
        assert expected == found.beginning + (b"\n...\n" if len(data) > BEGINNING + END else b"") + found.end
        for known in (0, len(data) // 2, len(data)):
            assert found.text(known) in {"", *_tails(data, known)}


def _tails(data, known):
    """The lines after some bytes."""
    from airflow_batchemr.core.log_lines import lines_of

    yield "\n".join(lines_of(data[known:].decode("utf-8", "replace")))
    yield "\n".join(lines_of((data[known:BEGINNING] + b"\n...\n" + data[-END:]).decode("utf-8", "replace")))


@settings(max_examples=60)
@given(st.lists(st.tuples(TEXTS, st.none() | st.integers(0, 3), st.integers(-1, 255)), max_size=8))
def test_any_failures_are_grouped_within_bounds(reasons):
    """Their reasons come from AWS and from the ledger."""
    failures = [Failure(index=index, reason=text, exit_code=code) for text, index, code in reasons]
    size = sum(len(text) for text, *_ in reasons)
    with bounded(memory=FREE + BYTES_A_CHARACTER * size, lines=20_000 + LINES_A_CHARACTER * size):
        logs = {one.key: [one.sample.reason] * 15 for one in group(failures)}
        text = report(failures, size=5, done=0, logs=logs)
    assert len(text) <= 10 * (2_100 + 15 * 520 + 200)


class Answers:
    """FilterLogEvents with any events."""

    def __init__(self, events):
        self.events = events

    def polling(self, _service):
        return self

    def filter_log_events(self, **_):
        return {"events": self.events, "nextToken": "more"}


EVENTS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "eventId": st.text(max_size=3),
            "timestamp": st.integers(-(2**63), 2**63) | st.just(int(time.time() * 1000)),
            "logStreamName": st.sampled_from(["a", "b", ""]),
            "message": TEXTS,
        },
    ),
    max_size=20,
)


@settings(max_examples=60)
@given(EVENTS)
def test_any_events_are_followed_within_bounds(events):
    """Members may be missing; ids, times and messages are the writer's."""
    size = sum(len(event.get("message", "")) for event in events)
    follower = LogFollower(Answers(events))
    with bounded(memory=FREE + BYTES_A_CHARACTER * size, lines=200_000 + LINES_A_CHARACTER * size):
        lines = follower.look_again(LogFollower.id_of("g", "a"))
    assert len(lines) <= LIVE_LINES + 1
    assert all(len(line) <= LONGEST for line in lines)
    assert [] == follower.take(LogFollower.id_of("g", "a"))
