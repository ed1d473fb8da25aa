"""Rerunning a successful job: on request, once, and not again in a retry."""

from __future__ import annotations

from collections import Counter

from tests.integration.test_batch_array import array_dag


def test_the_rerun_param_runs_the_named_jobs_again(aws, run_dag, work):
    """The run's conf names the job: all of it runs again, and there is a new marker."""
    dag = array_dag("rerun", work.command("true"), array=3)
    run_dag(dag)
    run_dag(dag, conf={"rerun": ["other"]})
    assert Counter(range(3)) == work.ran()
    assert "success" == run_dag(dag, conf={"rerun": ["work"]}, again=True).state
    assert Counter(dict.fromkeys(range(3), 2)) == work.ran()
    run_dag(dag, again=True)
    assert Counter(dict.fromkeys(range(3), 2)) == work.ran()


def test_a_retry_of_a_rerun_continues_it(aws, run_dag, work):
    """Index 1 fails in the rerun. The retry runs only index 1."""
    script = "[ ! -e again ] || [ $i != 1 ] || [ -e failed ] || { touch failed; exit 1; }"
    dag = array_dag("rerun_retry", work.command(script), array=3, retries=1, retry_delay=0)
    run_dag(dag)
    (work.folder / "again").touch()
    assert "success" == run_dag(dag, conf={"rerun": ["work"]}, again=True).state
    assert Counter({0: 2, 1: 3, 2: 2}) == work.ran()


def test_a_clear_runs_the_job_again_without_skip_if_succeeded(aws, run_dag, work):
    """The marker is ignored."""
    dag = array_dag("no_skip", work.command("true"), array=2, skip_if_succeeded=False)
    run_dag(dag)
    run_dag(dag)
    assert Counter({0: 2, 1: 2}) == work.ran()


def test_a_failed_job_resumes_without_skip_if_succeeded(aws, run_dag, work):
    """Only the failed indices run."""
    dag = array_dag(
        "no_skip_resume", work.command("[ $i = 0 ] || [ -e m ] || exit 1"), array=2, skip_if_succeeded=False
    )
    run_dag(dag)
    (work.folder / "m").touch()
    assert "success" == run_dag(dag).state
    assert Counter({0: 1, 1: 2}) == work.ran()
