"""Translate a state machine to a pipeline."""

from __future__ import annotations

from typing import Any

from airflow_batchemr.pipeline_file.importers.step_functions.machine import Machine, Upstream, Visit
from airflow_batchemr.pipeline_file.importers.step_functions.members import Members
from airflow_batchemr.pipeline_file.importers.step_functions.values import Given, variable_value
from airflow_batchemr.pipeline_file.importers.translation import (
    ImportPosition,
    Translation,
    duration,
    free_name,
    plain,
)
from airflow_batchemr.pipeline_file.known_keys import RESERVED
from airflow_batchemr.pipeline_file.validation import Problem


def translate(data: Any, name: str) -> Translation:
    """Translate a state machine.

    Does not raise for invalid data. If a state cannot be translated, `problems` contains an error for each such state,
    and `file` is empty.

    Args:
        data: the parsed Amazon States Language.
        name: name of the pipeline; a state machine definition does not contain one.
    """
    translation = Translation()
    if not isinstance(data, dict) or not isinstance(data.get("States"), dict) or "StartAt" not in data:
        message = "expected a state machine in Amazon States Language: an object with StartAt and States"
        template = isinstance(data, dict) and "Resources" in data
        hint = "import the definition of a state machine, instead of a template of CloudFormation" if template else None
        translation.problems.append(Problem((), message, hint))
        return translation
    name = free_name(name, RESERVED)
    translation.names[()] = name
    top = ImportPosition(translation, (name,), ())
    top.mark()
    machine = Machine(top)
    given = Members(data)
    pipeline: dict[str, Any] = {}
    if isinstance(given.get("Comment"), str):
        pipeline["description"] = plain(data["Comment"])
    pipeline["schedule"] = None
    top.at("schedule").note("a state machine has no schedule: set the schedule that started its executions")
    given.skip("Version")
    if timeout := given.fixed("TimeoutSeconds", int):
        pipeline["deadline"] = duration(timeout)
        top.at("deadline", source=["TimeoutSeconds"]).note(
            "Step Functions stopped the execution after this time; a pipeline's deadline only sends an alert, while a "
            "job's `deadline` stops the job"
        )
    ends: Upstream = {}
    if given.get("QueryLanguage", "JSONPath") != "JSONPath":
        machine.problem(
            ("QueryLanguage",), f"the query language {data['QueryLanguage']} is not supported, only JSONPath"
        )
    else:
        try:
            ends, _ = machine.walk(given, Visit("", given, (), {}, Given()))
        except RecursionError:
            machine.problem((), "the state machine is nested too deeply")
        machine.unread(given, ())
    if not machine.jobs and not translation.problems:
        what = "runs no step on its clusters" if machine.clusters else "has no AWS Batch or EMR task"
        machine.problem(("States",), f"the state machine {what}")
    if not translation.problems:
        machine.finish(pipeline, ends)
    if translation.problems:
        if machine.jobs:
            top.note(
                f"can be imported as jobs: {', '.join(machine.jobs)}. Remove the unsupported states from the state "
                "machine and import it again (a part that is selected or repeated at run time can become a separate "
                "state machine, and so a separate pipeline)"
            )
        return translation
    if variables := machine.write.variables:
        translation.file["vars"] = {key: variable_value(text) for key, text in variables.items()}
        for key, text in variables.items():
            ImportPosition(translation, ("vars", key), ()).note(
                f"was ${{{text}}}: if SAM, CloudFormation, the CDK or Terraform replaced it in the state machine, set "
                "its value; if not (a variable of a shell, for example), leave it"
            )
    translation.file[name] = pipeline
    if any("batch" in job for job in machine.jobs.values()):
        translation.file = {"defaults": {"batch": {"preamble": False, "attempts": 1}}, **translation.file}
        ImportPosition(translation, ("defaults", "batch", "preamble"), ()).note(
            "as in Step Functions, the command is passed to the image's entry point; with `preamble: true`, array "
            "jobs resume with the unfinished indices"
        )
        ImportPosition(translation, ("defaults", "batch", "attempts"), ()).note(
            "AWS Batch makes one attempt unless a job's `submit` sets a retry strategy; that of the job definition is "
            "overridden"
        )
    return translation
