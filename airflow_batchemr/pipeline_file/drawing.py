"""The jobs of a pipeline and what waits for what: as text, as Mermaid, as SVG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from airflow_batchemr.pipeline_file.importers.translation import duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_batchemr.pipeline_file.models import Array, Emr, Job, Pipeline, Schedule


def text(pipeline: Pipeline) -> str:
    """A tree: each job under the one that it waits for longest, with the others that it waits for."""
    levels = _levels(pipeline)
    under: dict[str | None, list[str]] = {}
    for name, job in pipeline.jobs.items():
        last = max(job.after, key=lambda other: levels[other], default=None)
        under.setdefault(last, []).append(name)
    rows = [(" ".join((pipeline.name, schedule_words(pipeline.schedule))), "")]
    stack = _branches(under.get(None, []), "")
    while stack:
        name, branch, inner = stack.pop()
        job = pipeline.jobs[name]
        waits = ", ".join(f"{other}{'' if rule == 'succeeded' else f' ({rule})'}" for other, rule in job.after.items())
        rows.append((f"{branch} {name}", f"{kind(job)}{f', after {waits}' if waits else ''}"))
        stack += _branches(under.get(name, []), inner)
    width = max(len(branch) for branch, _ in rows[1:]) if len(rows) > 1 else 0
    return "".join(f"{branch:<{width}}  {words}\n" if words else f"{branch}\n" for branch, words in rows)


def _branches(names: list[str], before: str) -> list[tuple[str, str, str]]:
    """Name, the line that leads to it, and the line before what comes under it; the first one last, to be popped."""
    last = len(names) - 1
    made = [
        (name, f"{before}{'└─' if place == last else '├─'}", f"{before}{'   ' if place == last else '│  '}")
        for place, name in enumerate(names)
    ]
    return made[::-1]


def data(pipeline: Pipeline) -> dict[str, Any]:
    """For machines: name, and of each job name, what it is, and names and rules of `after`."""
    jobs = [{"name": name, "kind": kind(job), "after": dict(job.after)} for name, job in pipeline.jobs.items()]
    return {"pipeline": pipeline.name, "jobs": jobs, "clusters": list(pipeline.clusters)}


def mermaid(pipeline: Pipeline) -> str:
    """A Mermaid flowchart; GitHub and many wikis draw it."""
    ids = {name: f"j{place}" for place, name in enumerate(pipeline.jobs)}
    lines = ["flowchart LR"]
    for name, job in pipeline.jobs.items():
        lines.append(f'  {ids[name]}["{_mermaid(name)}<br/>{_mermaid(kind(job))}"]')
    for name, job in pipeline.jobs.items():
        for other, rule in job.after.items():
            arrow = "-->" if rule == "succeeded" else f"-->|{rule}|"
            lines.append(f"  {ids[other]} {arrow} {ids[name]}")
    for place, cluster in enumerate(pipeline.clusters):
        lines.append(f'  c{place}(["{_mermaid(cluster)}<br/>EMR cluster"])')
        users = [ids[name] for name, job in pipeline.jobs.items() if job.emr is not None and job.emr.cluster == cluster]
        lines += [f"  c{place} -.- {user}" for user in users]
    return "\n".join(lines) + "\n"


def _mermaid(words: str) -> str:
    return escape(words, {'"': "#quot;"})


#: Pixels.
_WIDTH, _HEIGHT, _ACROSS, _DOWN, _EDGE = 200, 48, 80, 20, 20


@dataclass(frozen=True)
class _Box:
    x: int
    y: int


def svg(pipeline: Pipeline) -> str:
    """A picture: a column for each step of the longest way there."""
    boxes = _boxes(pipeline)
    right = max((box.x for box in boxes.values()), default=0) + _WIDTH + _EDGE
    bottom = max((box.y for box in boxes.values()), default=0) + _HEIGHT + _EDGE
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
        words = escape(_short(kind(job), 32))
        lines += [
            f'<rect x="{box.x}" y="{box.y}" width="{_WIDTH}" height="{_HEIGHT}" rx="6" fill="{fill}" stroke="#555"/>',
            f'<text x="{box.x + 10}" y="{box.y + 20}" font-weight="bold">{escape(_short(name, 24))}</text>',
            f'<text x="{box.x + 10}" y="{box.y + 38}" fill="#555" font-size="11">{words}</text>',
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _boxes(pipeline: Pipeline) -> dict[str, _Box]:
    rows: dict[int, int] = {}
    boxes = {}
    for name, level in _levels(pipeline).items():
        row = rows.get(level, 0)
        rows[level] = row + 1
        boxes[name] = _Box(_EDGE + level * (_WIDTH + _ACROSS), _EDGE + row * (_HEIGHT + _DOWN))
    return boxes


def _edge(start: _Box, end: _Box, rule: str) -> list[str]:
    x1, y1, x2, y2 = start.x + _WIDTH, start.y + _HEIGHT // 2, end.x, end.y + _HEIGHT // 2
    bend = (x1 + x2) // 2
    dash = "" if rule == "succeeded" else ' stroke-dasharray="5 3"'
    line = f"M{x1} {y1}C{bend} {y1} {bend} {y2} {x2} {y2}"
    path = f'<path d="{line}" fill="none" stroke="#555"{dash} marker-end="url(#end)"/>'
    label = f'<text x="{bend}" y="{(y1 + y2) // 2 - 4}" font-size="11" text-anchor="middle">{rule}</text>'
    return [path] if rule == "succeeded" else [path, label]


def _short(words: str, most: int) -> str:
    return words if len(words) <= most else f"{words[: most - 1]}…"


def _levels(pipeline: Pipeline) -> dict[str, int]:
    """How many jobs come one after another before each; the jobs in the order of the file."""
    levels: dict[str, int] = {}
    waiting: dict[str, Mapping[str, str]] = {name: job.after for name, job in pipeline.jobs.items()}
    while waiting:
        ready = [name for name, after in waiting.items() if all(other in levels for other in after)]
        for name in ready:
            levels[name] = max((levels[other] + 1 for other in waiting[name]), default=0)
        for name in ready:
            del waiting[name]
    return {name: levels[name] for name in pipeline.jobs}


def kind(job: Job) -> str:
    """What a job is, in a few words."""
    if job.operator is not None:
        return job.operator.rpartition(".")[2]
    words = []
    if job.batch is not None:
        words.append(f"Batch, {array_words(job.array)}" if job.array is not None else "Batch")
    if job.spark is not None:
        words.append("Spark")
    if job.steps:
        words.append(f"{len(job.steps)} step{'s' * (len(job.steps) != 1)}")
    elif job.load or job.save:
        words.append("s3-dist-cp")
    if job.emr is not None:
        words.append(f"on {_cluster(job.emr)}")
    if job.on is not None:
        words.append("on EMR Serverless" if job.on.emr_serverless is not None else "on EMR on EKS")
    return " ".join(words)


def _cluster(emr: Emr) -> str:
    named = emr.cluster or emr.cluster_name or emr.cluster_id
    return f"cluster {named}" if named else "its own cluster"


def array_words(array: Array) -> str:
    """How many indices, or where their number comes from."""
    if array.size is not None:
        return f"{array.size:,} ind{'ices' if array.size != 1 else 'ex'}"
    if array.pack is not None:
        return f"shards of {array.pack}"
    return (
        f"an index for each object of {array.per_object}"
        if array.per_object
        else f"an index for each line of {array.rows}"
    )


def schedule_words(schedule: Schedule | None) -> str:
    """When it runs, in a few words."""
    if schedule is None:
        return "(no schedule)"
    if schedule.every is not None:
        return f"(every {duration(schedule.every)})"
    if schedule.continuous is not None:
        return f"(run after run, {duration(schedule.continuous.pause)} between)"
    return f"({schedule.cron or schedule.timetable or 'after assets'})"
