"""Releases of the local EMR and their applications."""

from __future__ import annotations

import pytest

from tests.integration.test_local_emr import run


@pytest.fixture
def emr(local_aws):
    return local_aws.client("emr")


def test_a_cluster_without_applications_has_hadoop(local_aws, emr):
    """As on EMR; otherwise, it has those that were chosen."""
    default, chosen = run(emr), run(emr, Applications=[{"Name": "spark"}])
    described = [emr.describe_cluster(ClusterId=each)["Cluster"]["Applications"] for each in (default, chosen)]
    assert described == [[{"Name": "Hadoop", "Version": "3.4.0"}], [{"Name": "Spark", "Version": "3.5.2"}]]


@pytest.mark.parametrize(
    ("label", "name", "version"),
    [
        ("emr-6.0.0", "Hadoop", "3.2.1"),
        ("emr-6.7.0", "Spark", "3.2.1"),
        ("emr-5.28.0", "Ganglia", "3.7.2"),
        ("emr-6.3.1", "PrestoSQL", "350"),
        ("emr-4.7.2", "Zeppelin-Sandbox", "0.5.6"),
    ],
)
def test_documented_releases_are_known(local_aws, emr, label, name, version):
    """With all their applications."""
    applications = emr.describe_release_label(ReleaseLabel=label)["Applications"]
    assert {"Name": name, "Version": version} in applications
