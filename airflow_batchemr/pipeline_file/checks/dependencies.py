"""Dependencies between jobs: the `after` key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file.errors import Refusal, guess
from airflow_batchemr.pipeline_file.known_keys import RESERVED
from airflow_batchemr.pipeline_file.models.base import is_template
from airflow_batchemr.pipeline_file.models.job import as_after as rules_of
from airflow_batchemr.pipeline_file.validation import Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from airflow_batchemr.pipeline_file.models import Job


def dependencies(
    afters: Mapping[str, Any],
    groups: Mapping[str, list[str]],
    jobs: Mapping[str, Job | None],
    pipelines: Collection[str] = (),
    own: str = "",
) -> tuple[dict[str, dict[str, str]], dict[str, list[Problem]]]:
    """Resolve and check the `after` keys of all jobs of a pipeline.

    Args:
        afters: the value of `after` for each job, as written.
        groups: the jobs that each job with a matrix expands to; `after: score` refers to all of them.
        jobs: the models, None for a job with errors.
        pipelines: keys of the file, among which are the names of the other pipelines.
        own: the key of this pipeline.

    Returns:
        upstream jobs and their rules, and problems, by job.
    """
    resolved: dict[str, dict[str, str]] = {}
    problems: dict[str, list[Problem]] = {}
    for name, written in afters.items():
        resolved[name] = {}
        try:
            rules = rules_of(written) if written is not None else {}
        except Refusal:
            continue  # reported by the model
        for position, (other, rule) in enumerate(rules.items()):
            keys = ("after", position) if isinstance(written, list) else ("after", other)
            if other in groups:
                resolved[name].update(dict.fromkeys(groups[other], rule))
            elif other not in afters:
                known = [job for job in (*afters, *groups) if job != name]
                hint = guess(other, known) or (f"jobs of this pipeline: {', '.join(known[:12])}" if known else None)
                if other in pipelines and other not in (own, *RESERVED):
                    hint = (
                        f"`{other}` is another pipeline: add `outputs: s3://…` to it and `schedule: {{after_assets: "
                        "s3://…}` to this one, or move both into one pipeline as jobs"
                    )
                message = f"the pipeline has no job `{other}`"
                problems.setdefault(name, []).append(Problem(keys, message, hint, key=isinstance(written, dict)))
            elif other == name:
                problems.setdefault(name, []).append(Problem(keys, f"`{name}` cannot depend on itself"))
            else:
                resolved[name][other] = rule
    for cycle in _cycles(resolved):
        message = f"jobs depend on each other in a cycle: {' → '.join([*cycle, cycle[0]])}"
        problems.setdefault(cycle[0], []).append(Problem(("after",), message))
    for name, rules in resolved.items():
        for other, rule in rules.items():
            if rule == "index":
                problems.setdefault(name, []).extend(_index(name, other, jobs))
    return resolved, problems


def _cycles(after: Mapping[str, Mapping[str, str]]) -> list[list[str]]:
    """One cycle for each group of jobs that depend on each other, in the order of their dependencies."""
    done: set[str] = set()
    found: list[list[str]] = []
    for start in after:
        path: list[str] = []
        on_path: dict[str, int] = {}
        stack = [(start, iter(after[start]))] if start not in done else []
        if stack:
            path, on_path = [start], {start: 0}
        while stack:
            name, others = stack[-1]
            other = next(others, None)
            if other is None:
                stack.pop()
                done.add(name)
                path.pop()
                del on_path[name]
            elif other in on_path:
                cycle = path[on_path[other] :]
                if not any(set(cycle) & set(known) for known in found):
                    found.append(cycle)
            elif other not in done:
                on_path[other] = len(path)
                path.append(other)
                stack.append((other, iter(after[other])))
    return found


def _index(name: str, other: str, jobs: Mapping[str, Job | None]) -> list[Problem]:
    """AWS Batch's N_TO_N dependency requires two array jobs of the same size."""
    downstream, upstream = jobs.get(name), jobs.get(other)
    if downstream is None or upstream is None:
        return []
    keys = ("after", other)
    for job in (downstream, upstream):
        if job.array is None or job.batch is None:
            message = f"`index` requires two array jobs, but `{job.name}` is not one"
            return [Problem(keys, message, "add `array:` to it")]
        if job.array.size is None:
            message = f"`index` requires fixed array sizes, but the size of `{job.name}` is only known at run time"
            return [Problem(keys, message, "set `array` to a number, or use `succeeded`")]
    both = [job.array.size for job in (downstream, upstream) if job.array is not None]
    if both[0] != both[1] and not any(map(is_template, both)):  # else, checked when the task runs
        sizes = f"`{name}` has {both[0]:,} indices and `{other}` has {both[1]:,}"
        hint = "AWS Batch calls this an N_TO_N dependency"
        return [Problem(keys, f"`index` requires arrays of the same size: {sizes}", hint)]
    return []
