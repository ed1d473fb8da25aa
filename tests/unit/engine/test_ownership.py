"""What counts as the work of a submission: its name and tags on AWS."""

from __future__ import annotations

import re

import pytest

from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.core.tags import RUN_TAGS
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.engine.orphans import unplanned
from airflow_batchemr.engine.ownership import difference, step_difference
from airflow_batchemr.ledger import Intent, LedgerState, Submission
from airflow_batchemr.ledger.records import Request
from tests.unit.hostile.bounds import bounded

WHO = JobIdentity("s3://data/state", "nightly", "2026-11-20T000000Z", "score" * 9, "manual", "score")
ONE = IndexSet.of([0])
NAME, TAGS = WHO.submission_name(3), WHO.tags(3)


@pytest.mark.parametrize("name", [NAME, f"{NAME}-p0007", NAME[-64:]], ids=["name", "part", "short name"])
def test_work_with_name_and_tags_is_ours(name):
    """Several arrays of a submission are numbered, and EMR on EKS has shorter names."""
    assert difference(WHO, 3, name, {**TAGS, "team": "a"}) is None


@pytest.mark.parametrize(
    "name",
    [
        "payroll", "", NAME.upper(), f"{NAME}1", f"{NAME}-p", f"{NAME}-p0007-x", f"x{NAME}", f"{NAME}\n",
        WHO.submission_name(4), WHO.child_prefix(3), WHO.work_name(), NAME[1:],
        f"{WHO.work_name()}-a\u0660\u0660\u0660\u0663",
    ],
)  # fmt: skip
def test_work_with_another_name_is_not_ours(name):
    """Not even of another submission of the job, or of what its program has started."""
    assert f"expected '{NAME}'" in difference(WHO, 3, name, TAGS)


@pytest.mark.parametrize("key", RUN_TAGS)
@pytest.mark.parametrize("value", [None, "", "other"])
def test_work_with_another_tag_is_not_ours(key, value):
    """Each of the five counts."""
    tags = {**TAGS, key: value} if value is not None else {name: TAGS[name] for name in TAGS if name != key}
    assert f"expected '{TAGS[key]}'" in difference(WHO, 3, NAME, tags)


def test_tags_of_an_earlier_version_are_ours():
    """It kept letters outside ASCII, and white space."""
    who = JobIdentity("s3://data/größe", "nächtlich", "k/1|2", "job\t1", "manual", "job")
    values = {"dag_id": who.dag_id, "run_key": who.run_key, "job": who.job, "submission": "1", "state": who.state}
    old = {f"batchemr:{name}": re.sub(r"[^\w\s.:/=+\-@]", "_", value)[:256] for name, value in values.items()}
    assert old != who.tags(1)
    assert difference(who, 1, who.submission_name(1), old) is None


def test_a_cluster_of_an_earlier_submission_is_ours_where_that_is_possible():
    """Such as one that was kept alive; its tags name that submission, too."""
    assert difference(WHO, 3, WHO.submission_name(2), WHO.tags(2), earlier=True) is None
    assert difference(WHO, 3, NAME, TAGS, earlier=True) is None
    assert difference(WHO, 3, WHO.submission_name(2), TAGS, earlier=True) is not None
    assert difference(WHO, 3, WHO.submission_name(4), WHO.tags(4), earlier=True) is not None
    assert difference(WHO, 3, "payroll-a0002", TAGS, earlier=True) is not None


def test_a_step_is_ours_by_the_end_of_its_name():
    """Steps have no tags."""
    assert step_difference(WHO, 3, f"load books [{NAME}-s0012]") is None
    for name in ("load", f"load [{NAME}-s0012] x", f"load [{WHO.submission_name(4)}-s0012]", f"load {NAME}-s0012"):
        assert "expected one that ends with" in step_difference(WHO, 3, name)


def test_hostile_names_are_shown_safely_and_compared_within_bounds():
    """Names come from AWS accounts that others use, and from records."""
    text = difference(WHO, 3, "\x1b]0;x\x07\u202e" + "-a0" * 50_000, {})
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    with bounded(memory=5_000_000, lines=10_000):
        difference(WHO, 10**30, WHO.work_name() + "-a" + "9" * 100_000, {}, earlier=True)
        step_difference(WHO, 3, "[" * 100_000 + NAME)


def test_an_intent_requests_work_by_kind_and_name():
    """A cluster with the name of a Batch job is not its work."""
    intent = WHO.intent(3, "batch", [], ONE, rerun_token=None, details={})
    request = Request(name=f"{NAME}-p0001", indices=ONE, request={})
    intent = Intent.model_validate({**intent.model_dump(), "requests": [request]})
    state = LedgerState([3], [Submission(3, None, intent=intent)], None, None, 0, intent.written_at)
    assert unplanned(state, 3, {"batch"}, f"{NAME}-p0001") is None
    assert unplanned(state, 2, {"batch"}, "anything") is None  # there is no record
    for kinds, name in (({"emr"}, f"{NAME}-p0001"), ({"batch"}, NAME), ({"batch"}, "payroll")):
        assert unplanned(state, 3, kinds, name) == "submission 3 in the ledger has not requested it"
