"""Translate Sundial process definitions: schedule, overlap, notifications, tasks and their dependencies."""

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
from airflow_batchemr.pipeline_file.known_keys import RESERVED
from airflow_batchemr.pipeline_file.models.base import shown
from airflow_batchemr.pipeline_file.validation import Problem, validate

#: Notification conditions of pipeline files, by Sundial's name.
_WHEN = {
    "always": "always",
    "on_failure": "on_failure",
    "on_state_change": "on_change",
    "on_state_change_and_failures": "on_change_and_failures",
}
#: Airflow's maximum retry delay in seconds (MAX_RETRY_DELAY).
_AIRFLOW_MAX_DELAY = 86_400
#: Sundial's default job queue (`batch.job.queue` in its configuration).
DEFAULT_QUEUE = "sundial-job-queue"
_PAGERDUTY_URL = "https://events.pagerduty.com"


def _is_sundial(data: Any) -> bool:
    """Whether the data looks like a process definition or a list of them."""
    first = data[0] if isinstance(data, list) and data else data
    return isinstance(first, dict) and bool({"process_definition_name", "task_definitions"} & set(first))


def translate(data: Any, queue: str | None = None) -> Translation:
    """Translate a process definition, or a list of them.

    Does not raise for invalid data: errors are added to `problems`, and the definition is omitted from `file`; other
    definitions are not affected. A note with `refused` marks a feature that has no equivalent, such as a Quartz
    expression without a cron equivalent; its key is omitted.

    Args:
        data: the parsed JSON.
        queue: job queue of jobs without one; None uses Sundial's default and adds a note.
    """
    translation = Translation()
    if not _is_sundial(data):
        hint = (
            "to import a state machine, use `batchemr import step-functions`"
            if isinstance(data, dict) and "States" in data
            else None
        )
        message = "expected a Sundial process definition or a list of them (write other pipelines as YAML)"
        translation.problems.append(Problem((), message, hint))
        return translation
    for position, item in enumerate(data if isinstance(data, list) else [data]):
        source = (position,) if isinstance(data, list) else ()
        if not isinstance(item, dict):
            translation.problems.append(Problem(source, f"expected a process definition, not {shown(item)}"))
            continue
        process, problems = validate(Process, item)
        if process is not None:
            problems += _check_tasks(process)
        written = item.get("process_definition_name")
        if isinstance(written, str):
            translation.names[source] = free_name(written, {*RESERVED, *translation.names.values()})
        translation.problems += [replace(problem, keys=(*source, *problem.keys)) for problem in problems]
        if process is not None and not problems:
            _process(process, ImportPosition(translation, (), source), queue)
    return translation


def _check_tasks(process: Process) -> list[Problem]:
    """Duplicate tasks and unknown dependencies, which Sundial rejects as well."""
    problems = []
    names = [task.task_definition_name for task in process.task_definitions]
    for position, task in enumerate(process.task_definitions):
        at = ("task_definitions", position)
        if task.task_definition_name in names[:position]:
            message = f"duplicate task {task.task_definition_name!r}"
            problems.append(Problem((*at, "task_definition_name"), message))
        for number, dependency in enumerate(task.dependencies):
            name = dependency.task_definition_name
            if name not in names:
                keys = (*at, "dependencies", number, "task_definition_name")
                problems.append(Problem(keys, f"the process has no task {name!r}", guess(name, names)))
    return problems


def _process(process: Process, top: ImportPosition, queue: str | None) -> None:
    name = top.translation.names[top.source]
    place = top.at(name)
    place.mark()
    if name != process.process_definition_name:
        place.at(source=["process_definition_name"]).note(
            f"was {process.process_definition_name!r} in Sundial; the name must be unique and may contain letters, "
            "digits, - and _"
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
            at.note(f"was {task.task_definition_name!r} in Sundial; a name may contain letters, digits, - and _")
        pipeline["jobs"][job] = _job(task, process, jobs, at)
    top.translation.file[name] = pipeline
    if batches := [job["batch"] for job in pipeline["jobs"].values() if "batch" in job]:
        _batch_defaults(top.translation)
        if any("queue" not in batch for batch in batches):
            _queue(top.translation, queue)
    for path, known in unknown_fields(process):
        hint = guess(path[-1], known)
        top.at(name, source=path).note(
            f"Sundial has no field {'.'.join(map(str, path))}; omitted" + (f" ({hint})" if hint else "")
        )


def _batch_defaults(translation: Translation) -> None:
    """Add defaults that match Sundial: the command is passed to the image's entry point, and attempted once.

    The preamble would have to precede the entry point. Only array jobs need it, and these jobs are not arrays.
    """
    if "defaults" not in translation.file:
        translation.file = {"defaults": {"batch": {"preamble": False, "attempts": 1}}, **translation.file}
        ImportPosition(translation, ("defaults", "batch", "preamble"), ()).note(
            "as in Sundial, the command is passed to the image's entry point; for an array job, which needs the "
            "preamble to resume, set `preamble: true`"
        )
        ImportPosition(translation, ("defaults", "batch", "attempts"), ()).note(
            "as in Sundial, only Airflow retries (`retries` of each job); without this line AWS Batch also retries "
            "after a spot interruption"
        )


def _queue(translation: Translation, queue: str | None) -> None:
    """Add the default queue for jobs without one."""
    defaults = translation.file["defaults"]["batch"]
    if "queue" not in defaults:
        defaults["queue"] = queue or DEFAULT_QUEUE
        if queue is None:
            ImportPosition(translation, ("defaults", "batch", "queue"), ()).note(
                "jobs without a queue used the one in Sundial's configuration (batch.job.queue), by default "
                f"{DEFAULT_QUEUE}: change it if yours is different"
            )


def _schedule(process: Process, place: ImportPosition) -> Any:
    result: Any = None
    if process.schedule is None:
        return None
    if process.schedule.continuous_schedule is not None:
        result = {"continuous": {"pause": duration(process.schedule.continuous_schedule.buffer_seconds or 0)}}
    elif process.schedule.cron_schedule is not None:
        result = _cron(process.schedule.cron_schedule, place.at(source=["cron_schedule"]))
    if process.paused and result is not None:
        written = (
            repr(result) if isinstance(result, str) else f"{{continuous: {{pause: {result['continuous']['pause']}}}}}"
        )
        place.note(
            f"paused in Sundial: only manual runs were started; to resume the schedule, set `schedule: {written}`"
        )
        return None
    return result


def _cron(cron: CronSchedule, place: ImportPosition) -> str | None:
    fields = {name: getattr(cron, name) for name in CronSchedule.model_fields}
    quartz = " ".join(fields[name] for name in ("minutes", "hours", "day_of_month", "month", "day_of_week"))
    try:
        result = to_cron(**fields)
    except QuartzError as error:
        place.at(source=[error.field]).note(
            f"the Quartz schedule '{quartz}' has no exact cron equivalent: {error.field}: {error}", refused=True
        )
        return None
    if not re.fullmatch(r"\S+ \* \* \* \*", result):
        place.note("Sundial used the time zone of its server; the hours are now in UTC unless you set `timezone:`")
    return result


def _notify(process: Process, place: ImportPosition) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = []
    mails: list[tuple[tuple[str | int, ...], Email]] = []
    for position, notification in enumerate(process.notifications or []):
        if notification.email is not None:
            mails.append((("notifications", position, "email"), notification.email))
        if notification.pagerduty is not None:
            result.append(
                _pagerduty(
                    notification.pagerduty,
                    place.at("notify", len(result), source=["notifications", position, "pagerduty"]),
                )
            )
    mails += [(("subscriptions", position), mail) for position, mail in enumerate(process.subscriptions or [])]
    for source, mail in mails:
        if mail.notify_when == "never":
            place.at("notify", source=source).note(f"{mail.email} had notify_when: never; omitted")
            continue
        address = formataddr((mail.name, mail.email)) if f"{mail.name}{mail.email}".isascii() else mail.email
        result.append({"email": address, "when": _WHEN[mail.notify_when]})
    if any("email" in item for item in result):
        place.at("notify", source=mails[0][0]).note(
            "Sundial sent mail through Amazon SES; Airflow uses its SMTP connection (smtp_default)"
        )
    return result


def _pagerduty(pagerduty: Pagerduty, place: ImportPosition) -> dict[str, Any]:
    # The key is a secret: the file refers to a connection, whose name is derived from the key.
    connection = f"pagerduty_{hashlib.sha256(pagerduty.service_key.encode()).hexdigest()[:8]}"
    url = "" if pagerduty.api_url == _PAGERDUTY_URL else f" and the address {pagerduty.api_url}"
    place.note(
        f"the service key is not written to the file: create an Airflow connection {connection} (pagerduty_events) "
        f"with the key that ends in …{pagerduty.service_key[-4:]}{url}"
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
    if task.require_explicit_success and executable.shell_script_command is None:
        job["explicit_success"] = True
        place.at("explicit_success", source=["require_explicit_success"]).note(
            "the program reported success to Sundial's REST API (sundial.url); it must now write an object to the URI "
            "in its environment variable BATCHEMR_SUCCESS_URI"
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
                f"Sundial continued after the first failed attempt of {name}; Airflow continues after the last one"
            )
    if not optional:
        names = [jobs[name] for name in required]
        return names[0] if len(names) == 1 else names
    return {
        jobs[item.task_definition_name]: "succeeded" if item.success_required else "finished"
        for item in task.dependencies
    }


def _retries(task: Task, place: ImportPosition) -> dict[str, Any]:
    """Translate attempts to retries: the delay before try n+1 is base * exponent^(n-1) seconds."""
    retries = task.max_attempts - 1
    if retries > emr.MAX_RETRIES:
        place.at("retries", source=["max_attempts"]).note(
            f"was {task.max_attempts} attempts; limited to {emr.MAX_RETRIES + 1}"
        )
        retries = emr.MAX_RETRIES
    result: dict[str, Any] = {"retries": retries}
    if not retries:
        return result
    result["retry_delay"] = duration(task.backoff_base_seconds)
    factor = task.backoff_exponent
    at = place.at("retry_backoff", source=["backoff_exponent"])
    if not 1 <= factor <= 10:
        kept = min(max(factor, 1.0), 10.0)
        at.note(f"was {factor:g}; the factor must be between 1 and 10")
        factor = kept
    if factor != 1:
        result["retry_backoff"] = int(factor) if factor == int(factor) else factor
        at.note("Airflow adds random jitter of up to the same length to each delay")
        longest = task.backoff_base_seconds * factor ** min(retries - 1, 64)
        if longest > _AIRFLOW_MAX_DELAY:
            at.note(f"the last delays are limited to {duration(_AIRFLOW_MAX_DELAY)} by Airflow")
    return result
