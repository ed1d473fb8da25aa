"""No unsafe character of foreign text leaves through a command, a task log, a notification or a page."""

from __future__ import annotations

import asyncio
import importlib
import json
import pkgutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
import typer
from airflow.sdk import BaseOperator
from airflow.triggers.base import BaseTrigger
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from typer.testing import CliRunner

import airflow_batchemr
from airflow_batchemr.cli.app import COMMANDS, app
from airflow_batchemr.connections import as_airflow_error
from airflow_batchemr.notifiers import receivers
from airflow_batchemr.notifiers.deadline import notify_missed_deadline
from airflow_batchemr.notifiers.pipeline import PipelineNotifier
from airflow_batchemr.task_log import CleanLog
from tests.integration.test_pages import server, text  # noqa: F401 - a fixture
from tests.integration.test_replay import RUN, STATE, Array
from tests.integration.test_replay_consent import in_terminal
from tests.unit.hostile.text import HOSTILE, unsafe

#: Parts of records that have a form of their own.
FIXED = {
    "schema_version", "writer", "written_at", "kind", "outcome", "indices", "succeeded", "rerun_token", "try_number",
    "map_index", "type", "resourceRequirements", "arrayProperties", "size", "causes", "finished_at", "createdAt",
    "startedAt", "stoppedAt", "status", "jobDefinition", "cause",
}  # fmt: skip


def poisoned(value, key=""):
    """A record with hostile text at the end of each text."""
    if key in FIXED:
        return value
    if isinstance(value, dict):
        if set(value) == {"name", "value"}:  # a variable, whose name has no equals sign
            return {**value, "value": value["value"] + HOSTILE}
        return {name: poisoned(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [poisoned(one, key) for one in value]
    return value + HOSTILE if isinstance(value, str) else value


#: Parts of AWS's answers that users and programs choose.
FREE = {"Arn", "Message", "Name", "Value", "command", "image", "jobName", "message", "reason", "statusReason"}

PIPELINES = f"""
nightly:
  description: {json.dumps("d" + HOSTILE.replace("{{", "").replace("}}", ""))}
  batch:
    image: etl:1
    queue: default
    command: [echo, {json.dumps("x" + HOSTILE)}]
    env: {{NAME: {json.dumps("x" + HOSTILE)}}}
  # \u202e
"""
BROKEN = f"""
nightly:
  batsch: {json.dumps(HOSTILE)}
  batch: {{image: {json.dumps(HOSTILE)}, qeue: evil\u202e}}
"""
PROCESS = {
    "Comment": HOSTILE, "StartAt": "a" + HOSTILE, "States": {"a" + HOSTILE: {
        "Type": "Task", "Resource": "arn:aws:states:::batch:submitJob.sync", "End": True, "Comment": HOSTILE,
        "Parameters": {"JobName": "a" + HOSTILE, "JobQueue": "q", "JobDefinition": "d",
                       "ContainerOverrides": {"Command": [HOSTILE]}},
    }, HOSTILE: {"Type": HOSTILE}},
}  # fmt: skip

RUNS = ["history", "nightly", RUN[1], "score"]
ODD = [["odd" + HOSTILE], ["nightly", "odd" + HOSTILE], ["nightly", RUN[1], "odd" + HOSTILE]]
#: Arguments of each command; `{folder}` has the hostile files. A new command needs its own.
CASES = {
    "validate": [["{folder}"], ["{folder}", "--json"], ["{folder}/none" + HOSTILE], ["{folder}", "-e", HOSTILE]],
    "fmt": [["{broken}"], ["--check", "{good}"], ["{folder}/none" + HOSTILE]],
    "graph": [
        *(["{good}", "-f", form] for form in ("text", "mermaid", "svg", "json")), ["{broken}"],
        ["{good}", "-p", HOSTILE], ["{good}", "-f", HOSTILE], ["{good}", "-e", HOSTILE],
    ],
    "schema": [[], ["--" + HOSTILE]],
    "plan": [
        ["{good}", "--requests"], ["{good}", "--json"], ["{broken}"], ["{good}", "-p", HOSTILE],
        ["{good}", "-j", HOSTILE], ["{good}", "-d", HOSTILE], ["{good}", "--run-id", HOSTILE],
        ["{good}", "--state", STATE],
    ],
    "render": [["{good}"], ["{broken}"], ["{good}", "-p", HOSTILE], ["{good}", "-o", "{good}"]],
    "import sundial": [["{json}"], ["{json}", "--json"], ["{text}"], ["{folder}/none" + HOSTILE]],
    "import step-functions": [["{json}"], ["{json}", "--json"], ["{text}"], ["{folder}/none" + HOSTILE]],
    "history": [
        [], ["nightly"], RUNS[1:3], RUNS[1:], [*RUNS[1:], "-i", "3"], *ODD, ["--state", HOSTILE],
        ["--profile", HOSTILE],
        ["--json"], ["nightly", "--json"], [*RUNS[1:], "--json"], [*RUNS[1:], "-i", "3", "--json"],
        ["damaged", RUN[1], "broken"],
    ],
    "replay": [
        [*RUN, "-i", "3"], [*RUN, "-i", "3", "--json"], [*RUN, "-i", "3", "--local"], [*RUN, "-i", "3", "--docker"],
        [*RUN, "-i", "3", "--batch"], *([*odd, *RUN[len(odd):]] for odd in ODD), [*RUN, "-i", HOSTILE],
        [*RUN, "-i", "3", "--local", "--role", HOSTILE],
    ],
    "orphans": [["--all"], ["--all", "--json"], ["--older-than", HOSTILE]],
    "clusters": [["--all"], ["--all", "--json"], ["--end", HOSTILE]],
    "local": [["--path", "/none" + HOSTILE], ["--port", HOSTILE]],
    "unknown" + HOSTILE: [[]],
}  # fmt: skip


def commands():
    """Names of all commands, from the application itself."""
    for name, (module, _) in COMMANDS.items():
        command = typer.main.get_command(importlib.import_module(f"airflow_batchemr.cli.{module}").app)
        yield from (f"{name} {part}" for part in command.commands) if hasattr(command, "commands") else [name]


def test_every_command_is_covered():
    """A new command fails this test until it has arguments above."""
    assert {*commands(), "unknown" + HOSTILE} == set(CASES)


@pytest.fixture(scope="module")
def account(local_aws_server, tmp_path_factory):
    """A ledger, jobs and clusters whose every text is hostile, and hostile files."""
    folder = tmp_path_factory.mktemp("files") / "f\u202e\x9b\x1b[31m"
    folder.mkdir()
    files = {
        "good": ("good\x9b\x1b[8m.yaml", PIPELINES),
        "broken": ("bro\u202eken\x1b]0;x\x07.yaml", BROKEN),
        "json": ("a\x9b.json", json.dumps(PROCESS)),
        "text": ("t\x85.json", HOSTILE),
    }
    paths = {"folder": str(folder)}
    for name, (file, content) in files.items():
        (folder / file).write_text(content, encoding="utf-8")
        paths[name] = str(folder / file)
    with pytest.MonkeyPatch.context() as patch:
        local_aws_server.reset()
        for name, value in local_aws_server.environment().items():
            patch.setenv(name, value)
        patch.setenv("AIRFLOW__BATCHEMR__STATE", STATE)
        array = Array(tmp_path_factory.mktemp("array"), 5)
        _poison(array)
        _hostile_aws(patch)
        yield paths
    local_aws_server.reset()


def _poison(array):
    s3 = array.clients.s3
    for entry in s3.list_objects_v2(Bucket="data")["Contents"]:
        if "/nightly/" not in entry["Key"]:
            continue
        body = s3.get_object(Bucket="data", Key=entry["Key"])["Body"].read()
        if entry["Key"].endswith(".json"):
            body = json.dumps(poisoned(json.loads(body))).encode()
            s3.put_object(Bucket="data", Key=entry["Key"], Body=body)
        for place in (0, 1, 2):  # also as names
            parts = entry["Key"].split("/")
            parts[place + 1] += "\u202e\x9b"
            s3.put_object(Bucket="data", Key="/".join(parts), Body=body)
    broken = f"_batchemr/damaged/{RUN[1]}/broken/submissions/0001/intent.json"
    s3.put_object(Bucket="data", Key=broken, Body=json.dumps({"kind": HOSTILE}).encode())
    tags = {f"batchemr:{name}": "x" for name in ("dag_id", "run_key", "job", "owner")} | {"batchemr:state": STATE}
    array.clients.batch.submit_job(
        jobName="loop", jobQueue="default", jobDefinition="own:1", tags=tags,
        containerOverrides={"command": ["sleep", "600"]},
    )  # fmt: skip
    array.clients.emr.run_job_flow(
        Name="c", ReleaseLabel="emr-7.0.0", JobFlowRole="a", ServiceRole="b",
        Instances={"InstanceGroups": [{"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}],
                   "KeepJobFlowAliveWhenNoSteps": True},
        Tags=[{"Key": name, "Value": value} for name, value in tags.items()],
    )  # fmt: skip


def _hostile_aws(patch):
    """AWS's answers have hostile text where its services let users or programs choose it."""
    real = BaseClient._make_api_call

    def call(client, operation, arguments):
        answer = real(client, operation, arguments)
        return answer if client.meta.service_model.service_name == "s3" else _answer(answer)

    patch.setattr(BaseClient, "_make_api_call", call)


def _answer(value, key=""):
    if isinstance(value, dict):
        return {name: _answer(one, name if key != "tags" else f"tag {name}") for name, one in value.items()}
    if isinstance(value, list):
        return [_answer(one, key) for one in value]
    free = key in FREE
    free |= key.startswith("tag ") and key != "tag batchemr:state"
    return value + HOSTILE if isinstance(value, str) and free and value != STATE else value


@pytest.mark.parametrize(("command", "arguments"), [(name, one) for name, several in CASES.items() for one in several])
def test_a_command_prints_nothing_unsafe(account, command, arguments):
    """Neither to stdout nor to stderr, whatever the ledger, AWS, files, their names and arguments contain."""
    filled = [one.format(**account) if one.startswith("{") else one for one in arguments]
    words = [command] if command.startswith("unknown") else command.split()
    done = CliRunner().invoke(app, [*words, *filled], env={"COLUMNS": "400"})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert not unsafe(done.output), done.output
    assert command == "plan" or "1337" not in done.output  # plan renders the file's own templates


@pytest.mark.parametrize(
    "arguments",
    [RUNS, ["history"], ["replay", *RUN, "-i", "3"], ["validate", "{folder}"], ["fmt", "--diff", "{good}"],
     ["plan", "{good}", "--requests"], ["graph", "{good}"], ["orphans", "--all"], ["x" + HOSTILE]],
    ids=lambda one: one[0][:9],
)  # fmt: skip
def test_a_terminal_gets_only_our_own_colors(account, arguments):
    """Also where the output is exact if it goes to another program."""
    _, shown = in_terminal(*(one.format(**account) if one.startswith("{") else one for one in arguments), answer="")
    assert len(shown) > 20
    assert not unsafe(shown, terminal=True), shown
    assert "\x1b[8m" not in shown


@pytest.mark.parametrize("command", [["clusters", "--all"], RUNS], ids=lambda one: one[0])
def test_markup_of_rich_is_text(account, command):
    """Neither colors, links nor emoji."""
    done = CliRunner().invoke(app, command, env={"COLUMNS": "400"})
    assert "[red]r[/red][link=http://evil]l[/link]:skull:" in done.stdout


def test_a_value_of_several_lines_does_not_look_like_other_facts():
    """Its further lines are indented."""
    from airflow_batchemr.cli.history import _columns

    lines = "\n".join(_columns([("outcome", "failed"), ("reason", "x\noutcome  succeeded\rreason  none")], ""))
    assert [line for line in lines.splitlines() if line.startswith("outcome")] == ["outcome  failed"]


def test_fmt_is_exact_for_another_program_and_safe_on_a_terminal(account):
    """The text of a file is not changed on its way through a pipe."""
    source = "p: {jobs: {a: {command: x}}}  # \u202e\n"
    command = [sys.executable, "-c", "from airflow_batchemr.cli import main; main()", "fmt", "-"]
    done = subprocess.run(command, input=source.encode(), capture_output=True, check=True)
    assert done.stdout.decode() == source


@pytest.mark.parametrize("how", ["traceback", "warning", "log"])
def test_an_unexpected_error_prints_nothing_unsafe(how):
    """The traceback of a bug, a warning and a message of a library."""
    lines = {
        "traceback": f"raise RuntimeError({HOSTILE!r})",
        "warning": f"import warnings; warnings.warn({HOSTILE!r})",
        "log": f"import logging; logging.getLogger('x').warning({HOSTILE!r})",
    }
    program = (
        "from airflow_batchemr.pipeline_file import json_schema\n"
        f"def boom():\n    {lines[how]}\n    return {{}}\n"
        "json_schema.json_schema = boom\n"
        "from airflow_batchemr.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program, "schema"], capture_output=True, text=True, check=False)
    assert "evil" in done.stderr
    assert not unsafe(done.stderr)


# Task logs


def classes(base):
    """All classes of this package below a class of Airflow."""
    for module in pkgutil.walk_packages(airflow_batchemr.__path__, "airflow_batchemr."):
        if ".local" not in module.name and "__main__" not in module.name:
            importlib.import_module(module.name)
    found, open_ = set(), [base]
    while open_:
        several = open_.pop().__subclasses__()
        open_ += several
        found |= {one for one in several if one.__module__.startswith("airflow_batchemr.")}
    return found


@pytest.mark.parametrize("base", [BaseOperator, BaseTrigger])
def test_every_operator_sensor_and_trigger_logs_clean_text(airflow_db, base):
    """Whatever they log: lines of jobs, reasons of AWS, text of the ledger."""
    found = {one for one in classes(base) if one.__name__ != "ConvertedArguments"}
    assert len(found) > 4
    assert [one for one in found if not issubclass(one, CleanLog)] == []


def test_a_logger_cleans_arguments_but_not_numbers(airflow_db):
    """So that formats such as %.0f still work."""
    lines = []

    class Base:
        log = SimpleNamespace(info=lambda message, *arguments: lines.append(message % arguments))

    class Logging(CleanLog, Base):
        pass

    Logging().log.info("%s %.0f %s", HOSTILE, 1.6, ValueError(HOSTILE))
    assert lines[0].startswith("evil")
    assert not unsafe(lines[0])


@pytest.mark.parametrize("error", [ClientError, RuntimeError])
def test_an_error_of_a_task_is_safe_with_all_that_led_to_it(airflow_db, error):
    """Airflow writes the whole traceback to the task log."""
    import traceback

    def fail():
        if error is ClientError:
            raise ClientError({"Error": {"Code": "X" + HOSTILE, "Message": HOSTILE}}, "SubmitJob")
        raise error(HOSTILE)

    with pytest.raises(Exception, match="evil") as caught, as_airflow_error():
        fail()
    assert not unsafe("".join(traceback.format_exception(caught.value)))


# Notifications


@pytest.fixture
def sent(monkeypatch):
    """The arguments of the notifiers of all receivers that a pipeline file can name."""
    found = []

    class Notifier:
        def __init__(self, **arguments):
            self.arguments = arguments

        def notify(self, context):
            found.append(self.arguments)

        def __call__(self, context):
            raise AssertionError("rendered as a template")

    monkeypatch.setattr(receivers.settings, "load", lambda *_: Notifier)
    monkeypatch.setattr(receivers, "_installed", lambda _: True)
    return found


RECEIVERS = {"email": ["a@example.com"], "slack": {"channel": "#x"}, "pagerduty": {}}


def test_every_receiver_is_covered():
    """A new one fails this test until it is above."""
    assert set(RECEIVERS) == set(receivers._NOTIFIERS)


def texts(value):
    """All texts of the arguments of a notifier."""
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from texts(one)
    elif isinstance(value, str):
        yield value


@pytest.mark.parametrize("kind", RECEIVERS)
@pytest.mark.parametrize("how", ["failure", "deadline"])
def test_a_notification_has_nothing_unsafe(sent, kind, how):
    """Neither characters nor markup; a subject has one line; nothing is rendered as a template."""
    run_id = f"manual{HOSTILE}\nBcc: x@example.com"
    receiver = {kind: RECEIVERS[kind]}
    if how == "failure":
        run = SimpleNamespace(dag_id="d", run_id=run_id, partition_key=f"k{HOSTILE}", logical_date=None)
        notifier = PipelineNotifier(failed=True, **receiver)
        notifier.notify({"dag": SimpleNamespace(dag_id="d"), "dag_run": run, "exception": RuntimeError(HOSTILE)})
    else:
        asyncio.run(notify_missed_deadline([receiver], f"d{HOSTILE}", 60, {"dag_run": {"run_id": run_id}}))
    (arguments,) = sent
    shown = "".join(texts(arguments))
    assert "evil" in shown
    assert not unsafe(shown)
    assert "1337" not in shown
    assert "\n" not in arguments.get("subject", "") + arguments.get("summary", "")
    if kind == "email":
        assert "<script>" not in arguments["html_content"]
    if kind == "slack":
        assert "&lt;!channel&gt;" in arguments["text"]
        assert "<!" not in arguments["text"]
        plain = [one["text"] for one in arguments["blocks"] if one["text"]["type"] != "plain_text"]
        assert "evil" not in "".join(texts(plain))
        assert max(len(one["text"]["text"]) for one in arguments["blocks"]) <= 3_000


def test_a_long_message_fits_into_slacks_blocks(sent):
    """Slack refuses a message with a block of more than 3,000 characters."""
    receivers.send({"slack": {"channel": "#x"}}, receivers.Message("s", "x" * 99_999, "d", "http://a"), {})
    blocks = sent[0]["blocks"]
    assert len(blocks) <= 50
    assert max(len(one["text"]["text"]) for one in blocks) <= 3_000


# Pages and import errors


def test_pages_show_nothing_unsafe(account, airflow_db, server):  # noqa: F811 - a fixture
    """Controls and bidirectional text are visible escapes, and markup is escaped."""
    client = server("admin")
    places = [{}, {"run_key": RUN[1]}, *({"run_key": RUN[1], "job": "score", "index": one} for one in (1, 3))]
    for params in places:
        answer = client.get("/batchemr/nightly", params=params)
        assert not unsafe(answer.text), answer.text
        assert "<script>" not in answer.text
    assert "evil" in answer.text
    answer = client.get("/batchemr/nightly", params={"run_key": "x" + HOSTILE, "job": HOSTILE, "index": 0})
    assert not unsafe(answer.text)


def test_an_import_error_is_safe(account):
    """Airflow shows it in its UI and logs it."""
    from airflow_batchemr import build_dags
    from airflow_batchemr.pipeline_file import PipelineFileError

    with pytest.raises(PipelineFileError) as caught:
        build_dags(account["broken"])
    assert not unsafe(str(caught.value))
