"""A pipeline file as YAML text that people like to read: block style, the order of the data, comments at the place."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Any

import yaml

from airflow_batchemr.pipeline_file.reader import scalar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Path = tuple[str | int, ...]

_WIDTH = 110
#: Entries of a mapping that may stand in one line.
_FLOW_ENTRIES = 4
#: Texts that need no quotes, if they do not read as a number or a word of YAML besides.
_PLAIN = re.compile(r"[A-Za-z0-9_./+$][A-Za-z0-9_./+$=@%:-]*( [A-Za-z0-9_./+$=@%(][A-Za-z0-9_./+$=@%():-]*)*")
#: What a literal block cannot hold, or would not keep.
_UNPRINTABLE = re.compile("[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd]")


def dump(file: Mapping[str, Any], comments: Mapping[Path, Iterable[str]] | None = None, *, header: str = "") -> str:
    """Write a pipeline file.

    Args:
        file: plain values: mappings with text keys, lists, texts, numbers, booleans, null.
        comments: paragraphs by the keys of the entry that they stand above; where there is no such entry they stand
            above the nearest one.
        header: comment at the top.

    Returns:
        YAML that the package's reader reads as the same values.
    """
    remarks = _above(file, comments or {})
    lines = _comment(header, 0) + ([""] if header else [])
    for position, (name, pipeline) in enumerate(file.items()):
        lines += [""] if position else []
        lines += [*_remarks((name,), 0, remarks), f"{_scalar(name)}:", *_children(pipeline, (name,), 2, remarks)]
    return "\n".join(lines) + "\n"


def _above(file: Mapping[str, Any], comments: Mapping[Path, Iterable[str]]) -> dict[Path, list[str]]:
    """The comments by the entries that are there; only entries on lines of their own can have one above."""
    found: dict[Path, list[str]] = {}
    for path, paragraphs in comments.items():
        value: Any = file
        depth = 0
        for key in path:
            known = key in value if isinstance(value, dict) else isinstance(value, list) and key in range(len(value))
            if not known:
                break
            value = value[key]
            depth += 1
        found.setdefault(path[:depth], []).extend(paragraphs)
    return found


def _comment(text: str, indent: int) -> list[str]:
    pad = " " * indent
    width = max(40, _WIDTH - indent - 2)
    return [
        f"{pad}# {line}".rstrip()
        for part in text.splitlines()
        for line in (textwrap.wrap(part, width, break_on_hyphens=False, break_long_words=False) or [""])
    ]


def _remarks(path: Path, indent: int, remarks: Mapping[Path, list[str]]) -> list[str]:
    texts = (" ".join(text.split()) for text in remarks.get(path, []))
    return [line for text in texts for line in _comment(_UNPRINTABLE.sub("\ufffd", text), indent)]


def _has_remark(path: Path, remarks: Mapping[Path, list[str]]) -> bool:
    return any(len(other) > len(path) and other[: len(path)] == path for other in remarks)


def _children(value: Any, path: Path, indent: int, remarks: Mapping[Path, list[str]]) -> list[str]:
    """The lines of a mapping or a list in block style."""
    pad, lines = " " * indent, []
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        at = (*path, key)
        lines += _remarks(at, indent, remarks)
        head = f"{pad}{_scalar(key)}:" if isinstance(value, dict) else f"{pad}-"
        if isinstance(item, str) and (indicator := _literal(item)):
            lines += [
                f"{head} {indicator}",
                *(f"{pad}  {line}".rstrip() for line in item.removesuffix("\n").split("\n")),
            ]
        elif not _has_remark(at, remarks) and _fits(f"{head} {_flow(item)}", item):
            lines.append(f"{head} {_flow(item)}")
        elif isinstance(value, dict):
            lines += [head, *_children(item, at, indent + 2, remarks)]
        else:
            lines += _item(_children(item, at, indent + 2, remarks), pad)
    return lines


def _item(inner: list[str], pad: str) -> list[str]:
    """A list's item in block style: the dash stands before its first line that is no comment."""
    first = next(number for number, line in enumerate(inner) if not line.lstrip().startswith("#"))
    comments = [line.removeprefix("  ") for line in inner[:first]]
    return [*comments, f"{pad}- {inner[first].lstrip()}", *inner[first + 1 :]]


def _fits(line: str, value: Any) -> bool:
    """Whether a value is shown on its key's line: scalars always, what is short and flat too."""
    if not isinstance(value, dict | list) or not value:
        return True
    if len(line) > _WIDTH:
        return False
    if isinstance(value, dict) and len(value) == 1:
        inner = next(iter(value.values()))
        return not isinstance(inner, dict) or _is_flat(inner)
    return _is_flat(value)


def _is_flat(value: Any) -> bool:
    items = value.values() if isinstance(value, dict) else value
    short = not isinstance(value, dict) or len(value) <= _FLOW_ENTRIES
    return short and not any((isinstance(item, dict | list) and item) or _literal(item) for item in items)


def _literal(value: Any) -> str | None:
    """The indicator of a literal block that keeps a text of several lines; None where quotes have to."""
    if not isinstance(value, str) or "\n" not in value.rstrip("\n") or _UNPRINTABLE.search(value):
        return None
    lines = value.split("\n")
    if not lines[0] or lines[0][0] == " " or any(line != line.rstrip() for line in lines):
        return None
    return {0: "|-", 1: "|"}.get(len(value) - len(value.rstrip("\n")))


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and not text.endswith(":") and ": " not in text and isinstance(scalar(text), str):
        return text
    if text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    return yaml.dump(text, default_style='"', width=float("inf")).rstrip("\n")
