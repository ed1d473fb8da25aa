"""Job definitions that somebody else has registered."""

from __future__ import annotations

from types import SimpleNamespace

from airflow_batchemr.aws.batch.definitions import ensure_definition
from airflow_batchemr.pipeline_file.models import Batch


class BatchClient:
    """Has 250 active revisions; DescribeJobDefinitions gives 100 a page, as AWS does, the oldest first."""

    def describe_job_definitions(self, *, jobDefinitionName, status, nextToken="0"):  # noqa: N803 - AWS's names
        first = int(nextToken)
        page = [
            {"jobDefinitionArn": f"{jobDefinitionName}:{revision}", "revision": revision, "status": status}
            for revision in range(first + 1, min(first + 100, 250) + 1)
        ]
        return {"jobDefinitions": page} | ({"nextToken": str(first + 100)} if first + 100 < 250 else {})


def test_the_last_revision_of_many_is_taken():
    """A team that registers one at each deploy has more than a page of them."""
    found = ensure_definition(SimpleNamespace(batch=BatchClient()), Batch(queue="q", definition="etl"))
    assert "etl:250" == found["jobDefinitionArn"]
