"""`explicit_success`: a program that exits with 0 without reporting success has failed."""

from __future__ import annotations

from collections import Counter

from airflow.sdk import DAG

from airflow_batchemr.operators.batch import BatchArrayOperator

#: Reports success, like a user's program.
SAY = 'echo done | aws s3 cp --quiet - "$BATCHEMR_SUCCESS_URI"'


def dag_of(dag_id, command, /, **arguments):
    with DAG(dag_id, schedule=None) as dag:
        BatchArrayOperator(
            task_id="work", queue="default", image="busybox", command=command, explicit_success=True, **arguments
        )
    return dag


def test_a_job_that_reports_success_succeeds(aws, run_dag, work):
    """The object exists."""
    finished = run_dag(dag_of("says_so", work.command(SAY)))
    assert finished.tasks == {"work": "success"}


def test_exit_code_0_alone_is_a_failure_and_runs_again(aws, run_dag, work):
    """The report names the variable. After a clear, the job runs again."""
    dag = dag_of("silent", work.command(f"[ ! -e fixed ] || {SAY}"), preamble=True)
    failed = run_dag(dag)
    assert failed.tasks == {"work": "failed"}
    assert "no object at BATCHEMR_SUCCESS_URI" in failed.output
    (work.folder / "fixed").touch()
    assert run_dag(dag).tasks == {"work": "success"}
    assert work.ran() == Counter({0: 2})


def test_success_objects_of_an_earlier_submission_do_not_count(aws, run_dag, work):
    """Each submission has its own URI."""
    command = work.command(f"[ -e second ] || {{ touch second; {SAY}; exit 1; }}")
    dag = dag_of("earlier", command)
    assert run_dag(dag).tasks == {"work": "failed"}
    assert run_dag(dag).tasks == {"work": "failed"}
    assert work.ran() == Counter({0: 2})


def test_each_index_of_an_array_reports_success(aws, run_dag, work):
    """Those that did are done; only those that exited with 0 without a report run again."""
    say = 'echo done | aws s3 cp --quiet - "$BATCHEMR_SUCCESS_URI$i"'
    dag = dag_of("array_says", work.command(f"[ $i != 3 ] || [ -e fixed ] || exit 0; {say}"), array=5)
    assert run_dag(dag).tasks == {"work": "failed"}
    (work.folder / "fixed").touch()
    assert run_dag(dag).tasks == {"work": "success"}
    assert work.ran() == Counter(range(5)) + Counter([3])
