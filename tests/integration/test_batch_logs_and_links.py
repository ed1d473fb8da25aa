"""What users see: progress, failure reports, links and logs."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_batchemr.operators.batch import BatchArrayOperator
from tests.integration.test_batch_array import array_dag
from tests.unit.hostile.text import unsafe


def test_a_failed_array_reports_how_many_failed_and_why(aws, run_dag, work, state):
    """Grouped by cause, with the indices, the log of one per group, and the command that reruns it."""
    script = "case $i in 3|4) echo no such column: price >&2; exit 7;; 9) exit 2;; esac"
    finished = run_dag(array_dag("why", work.command(script), array=12))
    assert {"work": "failed"} == finished.tasks
    assert "3 of 12 indices failed; 9 are done and will not run again" in finished.output
    assert "exit code 7" in finished.output
    assert "indices 3-4" in finished.output
    assert "no such column: price" in finished.output
    for index in (3, 9):
        command = f"batchemr replay why 2026-11-20T000000Z work --state {state} --index {index}"
        assert command in finished.output


def test_links_lead_to_the_job_the_queue_the_log_and_the_ledger(aws, run_dag, work, xcom):
    """They are derived from XCom, so they work while the task is deferred, and after a failure."""
    finished = run_dag(array_dag("links", work.command("[ $i = 0 ]"), array=2))
    links = {
        link.name: xcom(finished, "links", "work", key=link.xcom_key)
        for link in BatchArrayOperator.operator_extra_links
    }
    assert {"Submissions", "Batch job", "Job queue", "Ledger", "Log of a failed index"} == set(links)
    assert "/batchemr/links?run_key=2026-11-20T000000Z&job=work" == links["Submissions"]
    assert "#jobs/array-job/" in links["Batch job"]
    assert links["Job queue"].endswith("#queues/detail/default")
    assert "/buckets/state?" in links["Ledger"]
    assert "log-group/$252Faws$252Fbatch$252Fjob/log-events/" in links["Log of a failed index"]


def test_progress_is_logged_when_it_changes(aws, run_dag, work):
    """In the task log while the task is deferred, without repetitions."""
    finished = run_dag(array_dag("progress", work.command("[ $i != 5 ] || exit 1"), array=8))
    lines = [line.split("] ", 1)[1] for line in finished.output.splitlines() if "/8 done" in line]
    assert any("7/8 done, 1 failed" in line for line in lines)
    assert len(lines) == len(dict.fromkeys(lines))


def test_each_map_index_has_its_own_ledger(aws, run_dag, work, state):
    """Each map index of a mapped task is a separate job, and arguments may differ."""
    with DAG("mapped", schedule=None) as dag:
        BatchArrayOperator.partial(task_id="work", job_queue="default", image="busybox").expand_kwargs(
            [
                {"command": work.command("true"), "array": 2},
                {"command": work.command("true"), "array": 3},
            ]
        )
    finished = run_dag(dag)
    assert {"work.0": "success", "work.1": "success"} == finished.tasks
    assert {0: 2, 1: 2, 2: 1} == work.ran()
    markers = aws.client("s3").list_objects_v2(Bucket="state")["Contents"]
    names = {one["Key"].split("/", 1)[1] for one in markers if one["Key"].startswith(state.split("/")[-1])}
    assert {
        "mapped/2026-11-20T000000Z/work.0/success.json",
        "mapped/2026-11-20T000000Z/work.1/success.json",
    } <= names


def test_the_program_gets_the_identity_of_its_run(aws, run_dag, work, state):
    """In PIPELINE_RUN_ID, other variables, and the tags of the job."""
    finished = run_dag(array_dag("identity", work.command("env > seen-$i"), array=1, env={"MINE": "a 'b' $(c)\n"}))
    assert {"work": "success"} == finished.tasks
    seen = dict(line.split("=", 1) for line in (work.folder / "seen-0").read_text().splitlines() if "=" in line)
    assert "2026-11-20T000000Z" == seen["PIPELINE_RUN_ID"]
    assert ("identity", "work", "1", state) == tuple(
        seen[f"BATCHEMR_{name}"] for name in ("DAG_ID", "JOB", "SUBMISSION", "STATE")
    )
    assert "a 'b' $(c)" == seen["MINE"]
    named = [{"name": "JOB_NAME", "values": ["identity-*"]}]
    (job,) = aws.client("batch").list_jobs(jobQueue="default", filters=named)["jobSummaryList"]
    (described,) = aws.client("batch").describe_jobs(jobs=[job["jobId"]])["jobs"]
    assert "identity" == described["tags"]["batchemr:dag_id"]
    assert "2026-11-20T000000Z" == described["tags"]["batchemr:run_key"]


def test_a_single_jobs_log_is_shown_while_it_runs(aws, run_dag, work):
    """The lines of the program appear in the task log, each once."""
    script = "for n in 1 2 3; do echo line $n of it; sleep 1; done"
    finished = run_dag(array_dag("live", ["sh", "-c", script]))
    assert {"work": "success"} == finished.tasks
    for number in (1, 2, 3):
        assert 1 == finished.output.count(f"| line {number} of it")


def test_the_first_failing_index_of_an_array_is_shown_while_the_others_run(aws, run_dag, work):
    """Its index, reason and last log lines appear long before the array has ended."""
    script = "if [ $i = 7 ]; then echo bad row >&2; exit 3; fi; sleep 4"
    finished = run_dag(array_dag("early", work.command(script), array=8))
    shown = finished.output.index("Index 7 has failed, exit code 3")
    assert finished.output.index("| bad row") > shown
    assert finished.output.index("7/8 done, 1 failed") > shown


def test_the_log_of_a_hostile_job_cannot_control_what_displays_it(aws, run_dag, work):
    """Neither live lines nor the report of the failure have control or bidirectional characters of the job."""
    line = r"evil\033]0;title\007\302\2332J\342\200\256\010"
    finished = run_dag(array_dag("hostile", work.command(f"printf '{line}\\n'; sleep 3; exit 7"), array=None))
    assert {"work": "failed"} == finished.tasks
    assert "| evil" in finished.output
    assert not unsafe(finished.output, terminal=True)
