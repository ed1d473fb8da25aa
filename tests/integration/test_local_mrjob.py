"""The unmodified mrjob 0.7.4, against the local AWS. Only its pauses are shorter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.version_info >= (3, 13), reason="mrjob needs the module `pipes`")

JOB = """
from mrjob.job import MRJob


class Words(MRJob):
    def mapper(self, _, line):
        for word in line.split():
            if word == "bad":
                raise ValueError("a bad word")
            self.increment_counter("words", "seen")
            yield word, 1

    def combiner(self, word, counts):
        yield word, sum(counts)

    def reducer(self, word, counts):
        yield word, sum(counts)


if __name__ == "__main__":
    Words.run()
"""


@pytest.fixture
def job(local_aws, clients, tmp_path):
    """`job(text, *options)` counts the words of a text on EMR."""
    (tmp_path / "words.py").write_text(JOB)
    environment = {**os.environ, **clients, "HOME": str(tmp_path)}
    # mrjob adds its step after the cluster; on AWS, starting takes minutes
    local_aws.clusters.delays.starting = 2

    def run(text, *options):
        (tmp_path / "input.txt").write_text(text)
        pauses = ["--check-cluster-every", "0.2", "--cloud-fs-sync-secs", "0"]
        command = [sys.executable, "words.py", "-r", "emr", *pauses, *options, "input.txt"]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    yield run
    local_aws.clusters.delays.starting = 0.2
    for lock in Path("/tmp").glob("wrapper.lock.words.*"):  # made by mrjob's setup script
        lock.unlink(missing_ok=True)


def test_a_job_runs_at_its_defaults(local_aws, job):
    """It creates roles, an instance profile, a bucket and a cluster, and reads the output and the counters."""
    done = job("b a b\n")
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ['"a"\t1', '"b"\t2']
    assert "seen=3" in done.stderr
    assert {"CreateInstanceProfile", "AttachRolePolicy", "RunJobFlow", "AddJobFlowSteps"} <= set(local_aws.requests())


def test_a_failed_job_shows_the_error_of_the_program(local_aws, job):
    """From the logs in S3, in Hadoop's form."""
    done = job("a bad word\n")
    assert done.returncode == 1
    assert "ValueError: a bad word" in done.stderr, done.stderr


def test_jobs_share_a_pooled_cluster(local_aws, job):
    """With debugging, a bootstrap command and an application. The second job finds the first one's cluster."""
    pool = ["--pool-clusters", "--no-read-logs", "--enable-emr-debugging", "--bootstrap", "sudo touch ~/ready"]
    for text in ("a", "b"):
        done = job(text, *pool, "--applications", "Ganglia")
        assert done.stdout == f'"{text}"\t1\n', done.stderr
    assert local_aws.requests()["RunJobFlow"] == 1
