"""Whatever the records of an open submission say, a try that observes or ends its work gets a value or an error."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_batchemr.aws.batch.remote import BatchRemote
from airflow_batchemr.aws.emr.job_run import JobRunRemote
from airflow_batchemr.aws.emr.remote import EmrRemote
from airflow_batchemr.aws.errors import AwsError
from airflow_batchemr.ledger import LedgerError
from tests.unit.hostile.bounds import bounded
from tests.unit.hostile.test_hostile_answers import (
    ENDPOINT,
    SUBMISSIONS,
    WHO,
    _without_pauses,  # noqa: F401 - fixture
)
from tests.unit.hostile.test_hostile_records import HOSTILE, new_ledger, parts, with_part, without_part

FOLDER = "_batchemr/nightly/k/score/submissions/0001/"


REMOTES = {"batch": BatchRemote, "emr": EmrRemote, "steps": EmrRemote}


@st.composite
def changed(draw, submission):
    """The records of a submission, of which up to three parts have been replaced or removed."""
    made = {
        "intent": json.loads(submission.intent.model_dump_json()),
        "handle": json.loads(submission.handle.model_dump_json()),
    }
    if draw(st.booleans()):
        del made["handle"]
    if draw(st.booleans()):
        made["stop"] = {"reason": "r"}
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(sorted(made)))
        path = draw(st.sampled_from(list(parts(made[name]))))
        if path and draw(st.booleans()):
            made[name] = without_part(made[name], path)
        else:
            made[name] = with_part(made[name], path, draw(HOSTILE))
    return {f"{FOLDER}{name}.json": json.dumps(body).encode() for name, body in made.items()}


@pytest.mark.parametrize("one", SUBMISSIONS.values(), ids=SUBMISSIONS)
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_the_work_of_any_records_is_found_observed_and_ended_or_an_error(new_s3, one, data, seed):
    """With answers of AWS in its own form."""
    clients = ENDPOINT.seed(seed, wrong=False)
    score = new_ledger(new_s3, data.draw(changed(one))).job(WHO.dag_id, WHO.run_key, WHO.job)
    with bounded(memory=60_000_000, lines=3_000_000):
        try:
            found = score.read().open_submissions
        except LedgerError:
            return
        if not found:
            return
        (submission,) = found
        remote = REMOTES.get(submission.kind, JobRunRemote)(clients, score, WHO)
        for use in (remote.find, remote.observe, lambda one: remote.terminate(one, "r")):
            if use == remote.observe and submission.handle is None:
                continue  # the engine has adopted it, or there is nothing to observe
            try:
                observation = use(submission)
                if use == remote.observe and observation.status != "running":
                    remote.result(submission, observation)
            except (AwsError, LedgerError):
                continue
