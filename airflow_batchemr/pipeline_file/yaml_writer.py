"""Write a pipeline file as readable YAML, with comments above the entries that they refer to."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Any

import yaml

from airflow_batchemr.core.foreign_text import clean
from airflow_batchemr.pipeline_file.reader import scalar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Path = tuple[str | int, ...]

_WIDTH = 110
#: Maximum number of entries of a mapping in flow style.
_FLOW_ENTRIES = 4
#: Text that needs no quotes, unless it reads as a number or a constant.
_PLAIN = re.compile(r"[A-Za-z0-9_./+$][A-Za-z0-9_./+$=@%:-]*( [A-Za-z0-9_./+$=@%(][A-Za-z0-9_./+$=@%():-]*)*")
#: Characters that a literal block cannot represent.
_UNPRINTABLE = re.compile("[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd]")


def dump(file: Mapping[str, Any], comments: Mapping[Path, Iterable[str]] | None = None, *, header: str = "") -> str:
    """Write a pipeline file.

    Args:
        file: plain values: mappings with text keys, lists, text, numbers, booleans, null.
        comments: paragraphs by the path of the entry that they refer to; if it does not exist, they are written above
            its closest parent.
        header: comment at the top of the file.

    Returns:
        YAML that `reader.read` parses to the same values.
    """
    by_entry = _existing_entries(file, comments or {})
    lines = _comment(clean(header), 0) + ([""] if header else [])
    for position, (name, pipeline) in enumerate(file.items()):
        lines += [""] if position else []
        lines += [*_comments_of((name,), 0, by_entry), f"{_scalar(name)}:", *_children(pipeline, (name,), 2, by_entry)]
    return "\n".join(lines) + "\n"


def _existing_entries(file: Mapping[str, Any], comments: Mapping[Path, Iterable[str]]) -> dict[Path, list[str]]:
    """The comments by the path of an existing entry: the entry itself or its closest parent."""
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


def _comments_of(path: Path, indent: int, comments: Mapping[Path, list[str]]) -> list[str]:
    texts = (" ".join(text.split()) for text in comments.get(path, []))
    return [line for text in texts for line in _comment(_UNPRINTABLE.sub("\ufffd", clean(text)), indent)]


def _has_comment_inside(path: Path, comments: Mapping[Path, list[str]]) -> bool:
    return any(len(other) > len(path) and other[: len(path)] == path for other in comments)


def _children(value: Any, path: Path, indent: int, comments: Mapping[Path, list[str]]) -> list[str]:
    """The lines of a mapping or a list in block style."""
    pad, lines = " " * indent, []
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        at = (*path, key)
        lines += _comments_of(at, indent, comments)
        head = f"{pad}{_scalar(key)}:" if isinstance(value, dict) else f"{pad}-"
        if isinstance(item, str) and (indicator := _literal(item)):
            lines += [
                f"{head} {indicator}",
                *(f"{pad}  {line}".rstrip() for line in item.removesuffix("\n").split("\n")),
            ]
        elif not _has_comment_inside(at, comments) and _fits(f"{head} {_flow(item)}", item):
            lines.append(f"{head} {_flow(item)}")
        elif isinstance(value, dict):
            lines += [head, *_children(item, at, indent + 2, comments)]
        else:
            lines += _item(_children(item, at, indent + 2, comments), pad)
    return lines


def _item(inner: list[str], pad: str) -> list[str]:
    """A list item in block style: the dash precedes its first line that is not a comment."""
    first = next(number for number, line in enumerate(inner) if not line.lstrip().startswith("#"))
    comments = [line.removeprefix("  ") for line in inner[:first]]
    return [*comments, f"{pad}- {inner[first].lstrip()}", *inner[first + 1 :]]


def _fits(line: str, value: Any) -> bool:
    """Whether a value fits on the line of its key: scalars always, short and flat collections too."""
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
    """The indicator of the literal block for a multi-line text; None if the text must be quoted."""
    if not isinstance(value, str) or "\n" not in value.rstrip("\n"):
        return None
    if _UNPRINTABLE.search(value) or clean(value) != value:
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
