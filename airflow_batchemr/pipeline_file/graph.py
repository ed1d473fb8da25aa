"""Render the dependency graph of a pipeline as text, Mermaid, SVG or JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from airflow_batchemr.pipeline_file.importers.translation import duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_batchemr.pipeline_file.models import Array, Emr, Job, Pipeline, Schedule


def as_text(pipeline: Pipeline) -> str:
    """A tree: each job below its last upstream job, followed by all of its upstream jobs."""
    levels = _levels(pipeline)
    children: dict[str | None, list[str]] = {}
    for name, job in pipeline.jobs.items():
        last = max(job.after, key=lambda other: levels[other], default=None)
        children.setdefault(last, []).append(name)
    rows = [(" ".join((pipeline.name, describe_schedule(pipeline.schedule))), "")]
    stack = _branches(children.get(None, []), "")
    while stack:
        name, branch, inner = stack.pop()
        job = pipeline.jobs[name]
        after = ", ".join(f"{other}{'' if rule == 'succeeded' else f' ({rule})'}" for other, rule in job.after.items())
        rows.append((f"{branch} {name}", f"{describe_job(job)}{f', after {after}' if after else ''}"))
        stack += _branches(children.get(name, []), inner)
    width = max(len(branch) for branch, _ in rows[1:]) if len(rows) > 1 else 0
    return "".join(f"{branch:<{width}}  {text}\n" if text else f"{branch}\n" for branch, text in rows)


def _branches(names: list[str], before: str) -> list[tuple[str, str, str]]:
    """A stack of names, the first on top, with the branch before each and the prefix of the lines below it."""
    last = len(names) - 1
    branches = [
        (name, f"{before}{'└─' if index == last else '├─'}", f"{before}{'   ' if index == last else '│  '}")
        for index, name in enumerate(names)
    ]
    return branches[::-1]


def as_data(pipeline: Pipeline) -> dict[str, Any]:
    """Plain values for JSON: the pipeline's jobs, with their kind and upstream jobs, and its clusters."""
    jobs = [{"name": name, "kind": describe_job(job), "after": dict(job.after)} for name, job in pipeline.jobs.items()]
    return {"pipeline": pipeline.name, "jobs": jobs, "clusters": list(pipeline.clusters)}


def as_mermaid(pipeline: Pipeline) -> str:
    """A Mermaid flowchart, which GitHub and many wikis render."""
    ids = {name: f"j{index}" for index, name in enumerate(pipeline.jobs)}
    lines = ["flowchart LR"]
    for name, job in pipeline.jobs.items():
        lines.append(f'  {ids[name]}["{_mermaid(name)}<br/>{_mermaid(describe_job(job))}"]')
    for name, job in pipeline.jobs.items():
        for other, rule in job.after.items():
            arrow = "-->" if rule == "succeeded" else f"-->|{rule}|"
            lines.append(f"  {ids[other]} {arrow} {ids[name]}")
    for index, cluster in enumerate(pipeline.clusters):
        lines.append(f'  c{index}(["{_mermaid(cluster)}<br/>EMR cluster"])')
        users = [ids[name] for name, job in pipeline.jobs.items() if job.emr is not None and job.emr.cluster == cluster]
        lines += [f"  c{index} -.- {user}" for user in users]
    return "\n".join(lines) + "\n"


def _mermaid(text: str) -> str:
    return escape(text, {'"': "#quot;"})


#: Size of a box, gaps between boxes and the margin, in pixels.
_WIDTH, _HEIGHT, _COLUMN_GAP, _ROW_GAP, _MARGIN = 200, 48, 80, 20, 20


@dataclass(frozen=True)
class _Box:
    x: int
    y: int


def as_svg(pipeline: Pipeline) -> str:
    """An SVG image; the column of a job is the length of the longest path to it."""
    boxes = _boxes(pipeline)
    right = max((box.x for box in boxes.values()), default=0) + _WIDTH + _MARGIN
    bottom = max((box.y for box in boxes.values()), default=0) + _HEIGHT + _MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{right}" height="{bottom}"',
        f'  viewBox="0 0 {right} {bottom}"',
        '  font-family="sans-serif" font-size="13">',
        f"<title>{escape(pipeline.name)}</title>",
        '<defs><marker id="end" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8"',
        '  orient="auto">',
        '<path d="M0 0 8 4 0 8z" fill="#555"/></marker></defs>',
    ]
    for name, job in pipeline.jobs.items():
        for other, rule in job.after.items():
            lines += _edge(boxes[other], boxes[name], rule)
    for name, job in pipeline.jobs.items():
        box, fill = boxes[name], "#fff4e0" if job.batch is not None else "#e0f0ff"
        kind = escape(_shorten(describe_job(job), 32))
        lines += [
            f'<rect x="{box.x}" y="{box.y}" width="{_WIDTH}" height="{_HEIGHT}" rx="6" fill="{fill}" stroke="#555"/>',
            f'<text x="{box.x + 10}" y="{box.y + 20}" font-weight="bold">{escape(_shorten(name, 24))}</text>',
            f'<text x="{box.x + 10}" y="{box.y + 38}" fill="#555" font-size="11">{kind}</text>',
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _boxes(pipeline: Pipeline) -> dict[str, _Box]:
    rows: dict[int, int] = {}
    boxes = {}
    for name, level in _levels(pipeline).items():
        row = rows.get(level, 0)
        rows[level] = row + 1
        boxes[name] = _Box(_MARGIN + level * (_WIDTH + _COLUMN_GAP), _MARGIN + row * (_HEIGHT + _ROW_GAP))
    return boxes


def _edge(start: _Box, end: _Box, rule: str) -> list[str]:
    x1, y1, x2, y2 = start.x + _WIDTH, start.y + _HEIGHT // 2, end.x, end.y + _HEIGHT // 2
    bend = (x1 + x2) // 2
    dash = "" if rule == "succeeded" else ' stroke-dasharray="5 3"'
    line = f"M{x1} {y1}C{bend} {y1} {bend} {y2} {x2} {y2}"
    path = f'<path d="{line}" fill="none" stroke="#555"{dash} marker-end="url(#end)"/>'
    label = f'<text x="{bend}" y="{(y1 + y2) // 2 - 4}" font-size="11" text-anchor="middle">{rule}</text>'
    return [path] if rule == "succeeded" else [path, label]


def _shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _levels(pipeline: Pipeline) -> dict[str, int]:
    """The length of the longest path to each job, in the order of the file."""
    levels: dict[str, int] = {}
    waiting: dict[str, Mapping[str, str]] = {name: job.after for name, job in pipeline.jobs.items()}
    while waiting:
        ready = [name for name, after in waiting.items() if all(other in levels for other in after)]
        for name in ready:
            levels[name] = max((levels[other] + 1 for other in waiting[name]), default=0)
        for name in ready:
            del waiting[name]
    return {name: levels[name] for name in pipeline.jobs}


def describe_job(job: Job) -> str:
    """A short description of what a job runs."""
    if job.operator is not None:
        return job.operator.rpartition(".")[2]
    parts = []
    if job.batch is not None:
        parts.append(f"Batch, {describe_array(job.array)}" if job.array is not None else "Batch")
    if job.spark is not None:
        parts.append("Spark")
    if job.steps:
        parts.append(f"{len(job.steps)} step{'s' * (len(job.steps) != 1)}")
    elif job.load or job.save:
        parts.append("s3-dist-cp")
    if job.emr is not None:
        parts.append(f"on {_cluster(job.emr)}")
    if job.on is not None:
        parts.append("on EMR Serverless" if job.on.emr_serverless is not None else "on EMR on EKS")
    return " ".join(parts)


def _cluster(emr: Emr) -> str:
    named = emr.cluster or emr.cluster_name or emr.cluster_id
    return f"cluster {named}" if named else "its own cluster"


def describe_array(array: Array) -> str:
    """The number of indices, or where it comes from."""
    if array.size is not None:
        return f"{array.size:,} ind{'ices' if array.size != 1 else 'ex'}"
    if array.pack is not None:
        return f"shards of {array.pack}"
    return f"one index per object of {array.per_object}" if array.per_object else f"one index per line of {array.rows}"


def describe_schedule(schedule: Schedule | None) -> str:
    """A short description of a schedule."""
    if schedule is None:
        return "(no schedule)"
    if schedule.every is not None:
        return f"(every {duration(schedule.every)})"
    if schedule.continuous is not None:
        return f"(continuous, {duration(schedule.continuous.pause)} pause)"
    return f"({schedule.cron or schedule.timetable or 'after assets'})"
