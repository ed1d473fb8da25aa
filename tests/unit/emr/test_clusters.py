"""Lists of clusters."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from airflow_batchemr.aws.emr.clusters import in_order


def test_clusters_are_sorted_by_creation():
    """The order of ListClusters is not guaranteed."""
    day = datetime(2026, 11, 20, tzinfo=timezone.utc)
    listed = [
        {
            "Id": f"j-{hours}",
            "Status": {"State": "RUNNING", "Timeline": {"CreationDateTime": day + timedelta(hours=hours)}},
        }
        for hours in (2, 3, 1)
    ]
    assert ["j-1", "j-2", "j-3"] == [one.cluster_id for one in in_order(listed)]
