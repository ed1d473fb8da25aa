"""`notify:` and `deadline:` of a pipeline, with Airflow's notifiers and alerts."""

from __future__ import annotations

import asyncio
import textwrap

import pendulum
import pytest
from airflow.sdk import DAG, BaseNotifier

from airflow_batchemr.notifiers.deadline import notify_missed_deadline
from airflow_batchemr.notifiers.pipeline import PipelineNotifier
from airflow_batchemr.notifiers.receivers import Message

SENT = []


class Recorder(BaseNotifier):
    """A custom notifier that records its argument."""

    template_fields = ("text",)

    def __init__(self, text=""):
        super().__init__()
        self.text = text

    def notify(self, context):
        SENT.append(self.text)


RECORDER = f"{__name__}.Recorder"


@pytest.fixture(autouse=True)
def _nothing_sent(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "recorder_for_tests", sys.modules[__name__])
    SENT.clear()


@pytest.fixture
def dag_of(tmp_path, airflow_db):
    """`dag_of(text)`: the Dag of a pipeline file with this text."""
    from airflow_batchemr import build_dags

    def build(text):
        path = tmp_path / "p.yaml"
        path.write_text(textwrap.dedent(text))
        return build_dags(path)[0]

    return build


BASH = "{operator: airflow.providers.standard.operators.bash.BashOperator, with: {bash_command: '%s'}}"
NOTIFY = "{notifier: recorder_for_tests.Recorder, with: {text: '{{ dag.dag_id }}'}%s}"


class Airflow:
    """Answers like the Dag processor: the runs of one Dag by day of November 2026."""

    def __init__(self, states):
        self.states = states

    def send(self, msg):
        from airflow.sdk.execution_time.comms import GetTaskStates, PreviousDagRunResult, TaskStatesResult

        if isinstance(msg, GetTaskStates):
            return TaskStatesResult(task_states={msg.run_ids[0]: {"a": "failed", "b": "success"}})
        days = [day for day in self.states if day < msg.logical_date.day]
        return PreviousDagRunResult(dag_run=run_of(max(days), self.states[max(days)]) if days else None)


def run_of(day, state):
    from airflow.sdk.api.datamodels._generated import DagRun

    date = pendulum.datetime(2026, 11, day)
    return DagRun(
        dag_id="p", run_id=f"run{day}", logical_date=date, data_interval_start=date, data_interval_end=date,
        run_after=date, start_date=date, end_date=date, run_type="scheduled", state=state, consumed_asset_events=[],
        partition_key=None,
    )  # fmt: skip


@pytest.fixture
def ended(dag_of, monkeypatch):
    """`ended(notify, states)`: end the runs of a pipeline one after the other; returns the days with notifications."""
    from airflow.sdk.execution_time import task_runner

    def end(notify, states):
        dag = dag_of(f"p: {{notify: {notify}, jobs: {{a: {BASH % 'true'}}}}}")
        notified = []
        for day, state in states.items():
            monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Airflow(states), raising=False)
            for callback in (dag.on_failure_callback if state == "failed" else dag.on_success_callback) or []:
                callback({"dag": dag, "dag_run": run_of(day, state), "reason": "it broke"})
            notified += [day] * len(SENT)
            SENT.clear()
        return notified

    return end


def test_a_failed_run_is_reported(ended):
    """A successful run is not reported by default."""
    assert ended(NOTIFY % "", {20: "failed", 21: "success", 22: "failed"}) == [20, 22]


def test_a_change_is_reported_once(ended):
    """Bad, still bad, good, still good: two notifications."""
    days = {20: "failed", 21: "failed", 23: "success", 24: "success"}
    assert ended(NOTIFY % ", when: on_change", days) == [20, 23]


def test_after_requires_consecutive_failures(ended):
    """`after: 2` does not report the first one."""
    assert ended(NOTIFY % ", after: 2", {20: "failed", 21: "success", 22: "failed", 23: "failed"}) == [23]


def test_a_run_that_has_not_ended_does_not_count(monkeypatch):
    """Runs may overlap, so the previous run may still be running."""
    from airflow.sdk.execution_time import task_runner

    monkeypatch.setattr(
        task_runner, "SUPERVISOR_COMMS", Airflow({20: "failed", 21: "running", 22: "failed"}), raising=False
    )
    notifier = PipelineNotifier(failed=True, after=2, notifier="recorder_for_tests.Recorder")
    assert list(notifier._earlier({"dag_run": run_of(22, "failed")})) == [True]


def test_receivers_of_a_job_are_notified_only_about_that_job(dag_of, run_dag):
    """Not about other jobs of the pipeline."""
    dag = dag_of(f"""
        jobs_own:
          jobs:
            quiet: {BASH % "exit 1"}
            loud: {{after: {{quiet: finished}}, notify: {NOTIFY % ""}, {(BASH % "exit 1")[1:-1]}}}
    """)
    run_dag(dag)
    assert SENT == ["jobs_own"]


def test_the_message_names_the_run_and_the_reason(dag_of):
    """Templates in an error message are not rendered."""
    notifier = PipelineNotifier(failed=True, notifier="recorder_for_tests.Recorder")

    class Run:
        dag_id, run_id, partition_key = "p", "manual__1", None
        logical_date = pendulum.datetime(2026, 11, 20)

    message = notifier.message({"dag": DAG("p", schedule=None), "dag_run": Run(), "reason": "{{ 1/0 }}"})
    assert message.subject == "p 2026-11-20T000000Z failed"
    assert message.text == "Run: 2026-11-20T000000Z (manual__1)\n\n{{ 1/0 }}"


def test_an_email_escapes_html_in_the_message(airflow_db):
    """Logs and reasons are plain text."""
    from airflow_batchemr.notifiers.receivers import _notifier

    mail = _notifier({"email": ["a@example.com"]}, Message("s", "<script>x</script>", "p", "http://x/?a=1&b=2"))
    assert "&lt;script&gt;" in mail.html_content
    assert "<script>" not in mail.html_content
    assert mail.to == ["a@example.com"]


def test_a_missing_provider_is_reported_at_parse_time(tmp_path, airflow_db):
    """Not when the first run has failed."""
    from airflow_batchemr import build_dags
    from airflow_batchemr.pipeline_file import PipelineFileError

    (tmp_path / "p.yaml").write_text(
        "p: {notify: {slack: '#x'}, jobs: {a: {operator: airflow.providers.standard.operators.empty.EmptyOperator}}}\n"
    )
    with pytest.raises(PipelineFileError, match="requires apache-airflow-providers-slack"):
        build_dags(tmp_path / "p.yaml")


def test_a_deadline_is_an_airflow_deadline_alert(dag_of):
    """Counted from the time the run was queued; it notifies all receivers of the pipeline."""
    dag = dag_of(f"late: {{deadline: 2h, notify: {NOTIFY % ', when: always'}, jobs: {{a: {BASH % 'true'}}}}}")
    alert = dag.deadline if not isinstance(dag.deadline, list) else dag.deadline[0]
    assert alert.interval.total_seconds() == 7200
    assert alert.reference.reference_name == "DagRunQueuedAtDeadline"
    assert alert.callback.path == "airflow_batchemr.notifiers.deadline.notify_missed_deadline"
    asyncio.run(notify_missed_deadline(**alert.callback.kwargs, context={"dag_run": {"dag_run_id": "r1"}, "dag": dag}))
    assert SENT == ["late"]


def test_a_failing_receiver_does_not_affect_the_others():
    """Its error is raised after all have been tried."""
    receivers = [{"notifier": "no.such.Thing"}, {"notifier": "recorder_for_tests.Recorder", "with": {"text": "second"}}]
    with pytest.raises(ImportError, match=r"no\.such\.Thing"):
        asyncio.run(notify_missed_deadline(receivers, "p", 60, context={}))
    assert SENT == ["second"]
