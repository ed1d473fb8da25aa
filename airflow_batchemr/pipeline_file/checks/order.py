"""`after`: the order of the jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file.errors import Refusal, guess
from airflow_batchemr.pipeline_file.models.job import as_after as rules_of
from airflow_batchemr.pipeline_file.validation import Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from airflow_batchemr.pipeline_file.models import Job


def order(
    afters: Mapping[str, Any],
    groups: Mapping[str, list[str]],
    jobs: Mapping[str, Job | None],
    pipelines: Collection[str] = (),
) -> tuple[dict[str, dict[str, str]], dict[str, list[Problem]]]:
    """Resolve and check `after` of all jobs of a pipeline.

    Args:
        afters: what each job says, in any of the forms.
        groups: jobs with a matrix, and those made of them: `after: score` means all of these.
        jobs: the models, None where one could not be made.
        pipelines: what the file has of them.

    Returns:
        names and rules for each job, and the problems of each job.
    """
    resolved: dict[str, dict[str, str]] = {}
    problems: dict[str, list[Problem]] = {}
    for name, written in afters.items():
        resolved[name] = {}
        try:
            rules = rules_of(written) if written is not None else {}
        except Refusal:
            continue  # the model has told it
        for place, (other, rule) in enumerate(rules.items()):
            keys = ("after", place) if isinstance(written, list) else ("after", other)
            if other in groups:
                resolved[name].update(dict.fromkeys(groups[other], rule))
            elif other not in afters:
                known = [job for job in (*afters, *groups) if job != name]
                hint = guess(other, known) or (f"jobs here: {', '.join(known[:12])}" if known else None)
                if other in pipelines:
                    hint = (
                        f"`{other}` is another pipeline: let it have `outputs: s3://…`, and this one `schedule: "
                        "{after_assets: s3://…}`; or make both jobs of one pipeline"
                    )
                message = f"no job `{other}` in this pipeline"
                problems.setdefault(name, []).append(Problem(keys, message, hint, key=isinstance(written, dict)))
            elif other == name:
                problems.setdefault(name, []).append(Problem(keys, f"`{name}` cannot come after itself"))
            else:
                resolved[name][other] = rule
    for circle in _circles(resolved):
        message = f"the jobs wait for each other in a circle: {' → '.join([*circle, circle[0]])}"
        problems.setdefault(circle[0], []).append(Problem(("after",), message))
    for name, rules in resolved.items():
        for other, rule in rules.items():
            if rule == "index":
                problems.setdefault(name, []).extend(_index(name, other, jobs))
    return resolved, problems


def _circles(after: Mapping[str, Mapping[str, str]]) -> list[list[str]]:
    """One circle for each group of jobs that wait for each other, in the order in which they run."""
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
                circle = path[on_path[other] :]
                if not any(set(circle) & set(known) for known in found):
                    found.append(circle)
            elif other not in done:
                on_path[other] = len(path)
                path.append(other)
                stack.append((other, iter(after[other])))
    return found


def _index(name: str, other: str, jobs: Mapping[str, Job | None]) -> list[Problem]:
    """AWS's N_TO_N needs two arrays of one size."""
    mine, its = jobs.get(name), jobs.get(other)
    if mine is None or its is None:
        return []
    keys = ("after", other)
    for job in (mine, its):
        if job.array is None or job.batch is None:
            return [Problem(keys, f"`index` joins two array jobs, and `{job.name}` is none", "give it an `array:`")]
        if job.array.size is None:
            message = f"`index` needs to know the sizes, and that of `{job.name}` is known only when it runs"
            return [Problem(keys, message, "write its size, or use `succeeded`")]
    if mine.array and its.array and mine.array.size != its.array.size:
        sizes = f"`{name}` has {mine.array.size:,} indices and `{other}` {its.array.size:,}"
        return [Problem(keys, f"`index` needs arrays of one size: {sizes}", "AWS calls it N_TO_N")]
    return []
