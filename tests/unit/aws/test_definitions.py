"""Existing job definitions."""

from __future__ import annotations

from types import SimpleNamespace

from airflow_batchemr.aws.batch.definitions import ensure_definition
from airflow_batchemr.pipeline_file.models import Batch


class BatchClient:
    """Has 250 active revisions. DescribeJobDefinitions returns 100 per page, oldest first, like AWS."""

    def describe_job_definitions(self, *, jobDefinitionName, status, nextToken="0"):  # noqa: N803 - AWS's names
        first = int(nextToken)
        page = [
            {"jobDefinitionArn": f"{jobDefinitionName}:{revision}", "revision": revision, "status": status}
            for revision in range(first + 1, min(first + 100, 250) + 1)
        ]
        return {"jobDefinitions": page} | ({"nextToken": str(first + 100)} if first + 100 < 250 else {})


def test_the_last_of_many_revisions_is_used():
    """A team that registers a revision with each deployment has more than one page of them."""
    found = ensure_definition(SimpleNamespace(batch=BatchClient()), Batch(queue="q", definition="etl"))
    assert "etl:250" == found["jobDefinitionArn"]
