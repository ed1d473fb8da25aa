"""A process definition to a pipeline: schedule, overlap, notifications, tasks and what they wait for."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from email.utils import formataddr
from typing import Any

from airflow_batchemr.pipeline_file.errors import guess
from airflow_batchemr.pipeline_file.importers.quartz import QuartzError, to_cron
from airflow_batchemr.pipeline_file.importers.sundial import commands, emr
from airflow_batchemr.pipeline_file.importers.sundial.models import (
    CronSchedule,
    Email,
    Pagerduty,
    Process,
    Task,
    unknown_fields,
)
from airflow_batchemr.pipeline_file.importers.translation import ImportPosition, Translation, duration, free_name
from airflow_batchemr.pipeline_file.models.base import shown
from airflow_batchemr.pipeline_file.validation import Problem, validate
from airflow_batchemr.pipeline_file.vocabulary import RESERVED

#: Sundial's words for when to tell, and the file's.
_WHEN = {
    "always": "always",
    "on_failure": "on_failure",
    "on_state_change": "on_change",
    "on_state_change_and_failures": "on_change_and_failures",
}
#: Retries that the pipeline file takes.
_MAX_RETRIES = 100
#: The longest delay before a retry that Airflow keeps (MAX_RETRY_DELAY), in seconds.
_AIRFLOW_MAX_DELAY = 86_400
#: Sundial's job queue (batch.job.queue of its configuration).
DEFAULT_QUEUE = "sundial-job-queue"
_PAGERDUTY_URL = "https://events.pagerduty.com"


def _is_sundial(data: Any) -> bool:
    """Whether JSON data look like a process definition, or a list of them."""
    first = data[0] if isinstance(data, list) and data else data
    return isinstance(first, dict) and bool({"process_definition_name", "task_definitions"} & set(first))


def translate(data: Any, queue: str | None = None) -> Translation:
    """Make a pipeline file of one process definition, or of a list of them.

    Never raises for what the data hold: a definition that is wrong is in `problems` and not in `file`; the others
    are not touched by it. A note that is `refused` marks what cannot be kept (such as a Quartz expression that no
    cron says): the word is then missing in the file.

    Args:
        data: what `json.load` made of Sundial's file.
        queue: of the jobs that name none; None is Sundial's own default, with a note.
    """
    translation = Translation()
    if not _is_sundial(data):
        hint = (
            "`batchemr import step-functions` reads state machines"
            if isinstance(data, dict) and "States" in data
            else None
        )
        message = "expected Sundial's process definition, or a list of them (other pipelines are written as YAML)"
        translation.problems.append(Problem((), message, hint))
        return translation
    for position, item in enumerate(data if isinstance(data, list) else [data]):
        source = (position,) if isinstance(data, list) else ()
        if not isinstance(item, dict):
            translation.problems.append(Problem(source, f"expected a process definition, not {shown(item)}"))
            continue
        process, problems = validate(Process, item)
        if process is not None:
            problems += _contradictions(process)
        written = item.get("process_definition_name")
        if isinstance(written, str):
            translation.names[source] = free_name(written, {*RESERVED, *translation.names.values()})
        translation.problems += [replace(problem, keys=(*source, *problem.keys)) for problem in problems]
        if process is not None and not problems:
            _process(process, ImportPosition(translation, (), source), queue)
    return translation


def _contradictions(process: Process) -> list[Problem]:
    """What is wrong with the tasks among themselves: Sundial would have refused it."""
    problems = []
    names = [task.task_definition_name for task in process.task_definitions]
    for position, task in enumerate(process.task_definitions):
        at = ("task_definitions", position)
        if task.task_definition_name in names[:position]:
            message = f"there are two tasks {task.task_definition_name!r}"
            problems.append(Problem((*at, "task_definition_name"), message))
        for number, dependency in enumerate(task.dependencies):
            name = dependency.task_definition_name
            if name not in names:
                keys = (*at, "dependencies", number, "task_definition_name")
                problems.append(Problem(keys, f"there is no task {name!r} in this process", guess(name, names)))
    return problems


def _process(process: Process, top: ImportPosition, queue: str | None) -> None:
    name = top.translation.names[top.source]
    place = top.at(name)
    place.mark()
    if name != process.process_definition_name:
        place.at(source=["process_definition_name"]).note(
            f"was {process.process_definition_name!r} in Sundial: AWS takes letters, digits, - and _, and a pipeline's "
            "name is its own"
        )
    pipeline: dict[str, Any] = {}
    if process.process_description:
        pipeline["description"] = process.process_description
    pipeline["schedule"] = _schedule(process, place.at("schedule", source=["schedule"]))
    pipeline["overlap"] = process.overlap_action
    if notify := _notify(process, place):
        pipeline["notify"] = notify
    jobs: dict[str, str] = {}
    for task in process.task_definitions:
        jobs[task.task_definition_name] = free_name(task.task_definition_name, set(jobs.values()))
    pipeline["jobs"] = {}
    for position, task in enumerate(process.task_definitions):
        job = jobs[task.task_definition_name]
        at = place.at("jobs", job, source=["task_definitions", position])
        at.mark()
        if job != task.task_definition_name:
            at.note(f"was {task.task_definition_name!r} in Sundial; AWS takes letters, digits, - and _")
        pipeline["jobs"][job] = _job(task, process, jobs, at)
    top.translation.file[name] = pipeline
    if batches := [job["batch"] for job in pipeline["jobs"].values() if "batch" in job]:
        _batch_defaults(top.translation)
        if any("queue" not in batch for batch in batches):
            _queue(top.translation, queue)
    for path, known in unknown_fields(process):
        hint = guess(path[-1], known)
        top.at(name, source=path).note(
            f"Sundial knows no field {'.'.join(map(str, path))}: left out" + (f" ({hint})" if hint else "")
        )


def _batch_defaults(translation: Translation) -> None:
    """Sundial's command was Docker's CMD, an argument of the image's entry point.

    These jobs are no arrays and lose nothing without the preamble, which would have to stand before the entry point.
    """
    if "defaults" not in translation.file:
        translation.file = {"defaults": {"batch": {"preamble": False, "attempts": 1}}, **translation.file}
        ImportPosition(translation, ("defaults", "batch", "preamble"), ()).note(
            "as in Sundial the command is handed to the image's own entry point; for an array job, which resumes by "
            "the preamble, write `preamble: true`"
        )
        ImportPosition(translation, ("defaults", "batch", "attempts"), ()).note(
            "the attempts are those of each task (`retries`), as in Sundial; without this line AWS Batch also tries "
            "again what lost its spot instance"
        )


def _queue(translation: Translation, queue: str | None) -> None:
    """Sundial's configuration named the queue of the jobs that named none; the file's defaults do so here."""
    defaults = translation.file["defaults"]["batch"]
    if "queue" not in defaults:
        defaults["queue"] = queue or DEFAULT_QUEUE
        if queue is None:
            ImportPosition(translation, ("defaults", "batch", "queue"), ()).note(
                "jobs that name no queue went to the one of Sundial's configuration (batch.job.queue), which is "
                f"{DEFAULT_QUEUE} unless it was changed: write yours"
            )


def _schedule(process: Process, place: ImportPosition) -> Any:
    made: Any = None
    if process.schedule is None:
        return None
    if process.schedule.continuous_schedule is not None:
        made = {"continuous": {"pause": duration(process.schedule.continuous_schedule.buffer_seconds or 0)}}
    elif process.schedule.cron_schedule is not None:
        made = _cron(process.schedule.cron_schedule, place.at(source=["cron_schedule"]))
    if process.paused and made is not None:
        written = repr(made) if isinstance(made, str) else f"{{continuous: {{pause: {made['continuous']['pause']}}}}}"
        place.note(
            "paused in Sundial: the schedule was ignored, and only runs started by hand ran; to take it up again "
            f"write `schedule: {written}`"
        )
        return None
    return made


def _cron(cron: CronSchedule, place: ImportPosition) -> str | None:
    fields = {name: getattr(cron, name) for name in CronSchedule.model_fields}
    quartz = " ".join(fields[name] for name in ("minutes", "hours", "day_of_month", "month", "day_of_week"))
    try:
        made = to_cron(**fields)
    except QuartzError as error:
        place.at(source=[error.field]).note(
            f"the Quartz schedule '{quartz}' has no exact cron: {error.field}: {error}", refused=True
        )
        return None
    if not re.fullmatch(r"\S+ \* \* \* \*", made):
        place.note("Sundial's hours were those of its server's time zone, here they are UTC's: else set `timezone:`")
    return made


def _notify(process: Process, place: ImportPosition) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    mails: list[tuple[tuple[str | int, ...], Email]] = []
    for position, notification in enumerate(process.notifications or []):
        if notification.email is not None:
            mails.append((("notifications", position, "email"), notification.email))
        if notification.pagerduty is not None:
            made.append(
                _pagerduty(
                    notification.pagerduty,
                    place.at("notify", len(made), source=["notifications", position, "pagerduty"]),
                )
            )
    mails += [(("subscriptions", position), mail) for position, mail in enumerate(process.subscriptions or [])]
    for source, mail in mails:
        if mail.notify_when == "never":
            place.at("notify", source=source).note(f"{mail.email} was never to be told: left out")
            continue
        address = formataddr((mail.name, mail.email)) if mail.name.isascii() else mail.email
        made.append({"email": address, "when": _WHEN[mail.notify_when]})
    if any("email" in item for item in made):
        place.at("notify", source=mails[0][0]).note(
            "Sundial mailed through Amazon SES; Airflow mails through its SMTP connection (smtp_default)"
        )
    return made


def _pagerduty(pagerduty: Pagerduty, place: ImportPosition) -> dict[str, Any]:
    # The key is a secret: the file names a connection, and the same key always gets the same name.
    connection = f"pagerduty_{hashlib.sha256(pagerduty.service_key.encode()).hexdigest()[:8]}"
    url = "" if pagerduty.api_url == _PAGERDUTY_URL else f" and the address {pagerduty.api_url}"
    place.note(
        f"the service key stays out of the file: make an Airflow connection {connection} (pagerduty_events) with the "
        f"key that ends in …{pagerduty.service_key[-4:]}{url}"
    )
    return {"pagerduty": connection, "when": "on_failure", "after": pagerduty.num_consecutive_failures}


def _job(task: Task, process: Process, jobs: dict[str, str], place: ImportPosition) -> dict[str, Any]:
    job: dict[str, Any] = {}
    if after := _after(task, process, jobs, place.at("after")):
        job["after"] = after
    executable = task.executable
    at = place.at(source=["executable", executable.kind])
    if executable.emr_command is not None:
        job |= emr.job(executable.emr_command, task, at)
    elif executable.batch_image_command is not None:
        job |= commands.batch(executable.batch_image_command, task, at)
    elif executable.docker_image_command is not None:
        job |= commands.docker(executable.docker_image_command, task, at)
    elif executable.shell_script_command is not None:
        job |= commands.shell(executable.shell_script_command, task, at)
    job |= _retries(task, place)
    if task.require_explicit_success and executable.emr_command is not None:
        place.at("steps", source=["require_explicit_success"]).note(
            "Sundial wanted the program to tell its REST API of its success; of a step the exit code alone counts: let "
            "it end with an error where it has not succeeded",
            refused=True,
        )
    elif task.require_explicit_success and executable.shell_script_command is None:
        job["explicit_success"] = True
        place.at("explicit_success", source=["require_explicit_success"]).note(
            "the program told Sundial's REST API (sundial.url) of its success; now it writes an object to the URI in "
            "its environment variable BATCHEMR_SUCCESS_URI"
        )
    return job


def _after(task: Task, process: Process, jobs: dict[str, str], place: ImportPosition) -> Any:
    required = [item.task_definition_name for item in task.dependencies if item.success_required]
    optional = [
        (position, item.task_definition_name)
        for position, item in enumerate(task.dependencies)
        if not item.success_required
    ]
    attempts = {other.task_definition_name: other.max_attempts for other in process.task_definitions}
    for position, name in optional:
        if attempts[name] > 1:
            place.at(jobs[name], source=["dependencies", position]).note(
                f"Sundial went on after the first failed attempt of {name}; Airflow goes on after the last one"
            )
    if not optional:
        names = [jobs[name] for name in required]
        return names[0] if len(names) == 1 else names
    return {
        jobs[item.task_definition_name]: "succeeded" if item.success_required else "finished"
        for item in task.dependencies
    }


def _retries(task: Task, place: ImportPosition) -> dict[str, Any]:
    """Sundial's attempts as Airflow's tries: before try n+1 it waits base * exponent^(n-1) seconds."""
    retries = task.max_attempts - 1
    if retries > _MAX_RETRIES:
        place.at("retries", source=["max_attempts"]).note(
            f"{task.max_attempts} attempts: at most {_MAX_RETRIES + 1} are made"
        )
        retries = _MAX_RETRIES
    made: dict[str, Any] = {"retries": retries}
    if not retries:
        return made
    made["retry_delay"] = duration(task.backoff_base_seconds)
    factor = task.backoff_exponent
    at = place.at("retry_backoff", source=["backoff_exponent"])
    if not 1 <= factor <= 10:
        kept = min(max(factor, 1.0), 10.0)
        at.note(f"the factor was {factor:g}; from 1 to 10 can be kept")
        factor = kept
    if factor != 1:
        made["retry_backoff"] = int(factor) if factor == int(factor) else factor
        at.note("Airflow waits up to as long again, at random, so that not all retries come at once")
        longest = task.backoff_base_seconds * factor ** min(retries - 1, 64)
        if longest > _AIRFLOW_MAX_DELAY:
            at.note(f"the last delays would be longer than Airflow's bound of {duration(_AIRFLOW_MAX_DELAY)}")
    return made
