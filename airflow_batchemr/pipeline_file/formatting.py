"""Format a pipeline file: normalize indentation, spaces and empty lines; keep text, quotes and comments.

The text is reassembled from its YAML tokens, and the spaces, line breaks and comments between them are rewritten.
Formatting fails if it would change the values or comments of the file.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from airflow_batchemr.pipeline_file.errors import PipelineFileError
from airflow_batchemr.pipeline_file.reader import read

if TYPE_CHECKING:
    from pathlib import Path

_STEP = 2
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_OPEN = (yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken)
_CLOSE = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken)
_BLOCK = (yaml.BlockMappingStartToken, yaml.BlockSequenceStartToken)


def format_text(text: str, path: Path | str = "<text>") -> str:
    """Format the text of a pipeline file.

    Raises:
        PipelineFileError: if it is not valid YAML, or cannot be formatted without changing its content.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    before = read(path, text)
    if before.errors:
        raise before.errors[0]
    tokens = _tokens(text)
    formatted = _write(tokens)
    after = read(path, formatted)
    if after.errors or after.value != before.value or _comments(_tokens(formatted)) != _comments(tokens):
        message = "the file cannot be formatted without changing its content"
        raise PipelineFileError(message, "it was left unchanged", path=path)
    return formatted


@dataclass
class _Token:
    """A token and the text before it.

    Attributes:
        kind: PyYAML's token class.
        text: the token's text, with its original indentation.
        gap: the spaces, line breaks and comments before it.
        column: 0-based column.
        blocks: old and new column of each enclosing block, outermost first.
        flow: number of enclosing brackets.
        key: whether it starts an entry of a block.
        old_base: for a block scalar, the old column of its content.
        new_base: for a block scalar, the new column of its content.
    """

    kind: type
    text: str
    gap: str
    column: int
    blocks: list[tuple[int, int]]
    flow: int
    key: bool
    old_base: int | None = None
    new_base: int = 0

    @property
    def inner(self) -> int:
        """Column of continuation lines in the innermost block."""
        return self.blocks[-1][1] + _STEP if self.blocks else 0


@dataclass
class _Block:
    old: int
    new: int
    is_list: bool
    implied: bool = False


@dataclass
class _Blocks:
    """The blocks that enclose the current token."""

    open: list[_Block] = field(default_factory=list)

    def update(self, token: Any, flow: int) -> None:
        """Open and close blocks at a token; a list at the column of its key has no start token."""
        if isinstance(token, _BLOCK):
            new = self.open[-1].new + _STEP if self.open else 0
            self.open.append(_Block(token.start_mark.column, new, isinstance(token, yaml.BlockSequenceStartToken)))
        elif isinstance(token, yaml.BlockEndToken):
            self._end_implied()
            self.open.pop()
        elif isinstance(token, yaml.KeyToken) and not flow:
            self._end_implied()
        elif isinstance(token, yaml.BlockEntryToken) and not self.open[-1].is_list:
            self.open.append(_Block(token.start_mark.column, self.open[-1].new + _STEP, is_list=True, implied=True))

    def _end_implied(self) -> None:
        if self.open[-1].implied:
            self.open.pop()


def _tokens(text: str) -> list[_Token]:
    """The tokens that have text, and the empty end token."""
    blocks, flow, end, tokens = _Blocks(), 0, 0, []
    key = False
    for token in yaml.scan(text, Loader=_LOADER):
        if isinstance(token, yaml.DirectiveToken):
            raise PipelineFileError("files with YAML directives (%) cannot be formatted", "remove the directives")
        blocks.update(token, flow)
        key = key or (isinstance(token, yaml.KeyToken | yaml.BlockEntryToken) and not flow)
        start, stop = token.start_mark.index, token.end_mark.index
        if start == stop and not isinstance(token, yaml.StreamEndToken):
            continue
        if isinstance(token, _CLOSE):
            flow -= 1
        found = _Token(
            type(token),
            text[start:stop],
            text[end:start],
            token.start_mark.column,
            [(block.old, block.new) for block in blocks.open],
            flow,
            key,
        )
        if isinstance(token, _OPEN):
            flow += 1
        if isinstance(token, yaml.ScalarToken) and token.style in ("|", ">"):
            _read_block_text(found)
        tokens.append(found)
        end, key = start + len(found.text), False
    return tokens


def _read_block_text(token: _Token) -> None:
    """Set the old and new column of the content of a block scalar (`|` or `>`)."""
    header, _, content = token.text.partition("\n")
    keep_trailing = "+" in header.split("#", maxsplit=1)[0]
    content = content.removesuffix("\n") if keep_trailing else content.rstrip("\n \t")
    token.text = f"{header}\n{content}" if content else header
    digit = re.search(r"[1-9]", header.split("#")[0])
    widths = [len(line) - len(line.lstrip(" ")) for line in content.split("\n") if line.strip()]
    around = token.blocks[-1] if token.blocks else (0, 0)
    token.old_base = around[0] + int(digit[0]) if digit else min(widths, default=0)
    token.new_base = around[1] + (int(digit[0]) if digit else _STEP)


@dataclass
class _Gap:
    """The text between two tokens.

    Attributes:
        same_line: whether the tokens are on the same line.
        trailing: the comment after the first token.
        lines: column and comment of each line between them; an empty line has no comment.
    """

    same_line: bool
    trailing: str
    lines: list[tuple[int, str]]

    @classmethod
    def of(cls, text: str, *, first: bool, last: bool) -> _Gap:
        head, *rest = text.split("\n")
        if first:
            head, rest = "", [head, *rest]
        lines = [(len(line) - len(line.lstrip()), line.strip()) for line in (rest if last else rest[:-1])]
        if first and not last and rest and rest[-1].strip():
            lines.append((0, rest[-1].strip()))
        return cls(same_line=not rest, trailing=head.strip(), lines=lines)


def _gaps(tokens: list[_Token]) -> list[_Gap]:
    last = len(tokens) - 1
    return [_Gap.of(token.gap, first=index == 0, last=index == last) for index, token in enumerate(tokens)]


def _comments(tokens: list[_Token]) -> list[str]:
    found = itertools.chain.from_iterable([gap.trailing, *(text for _, text in gap.lines)] for gap in _gaps(tokens))
    return [comment for comment in found if comment]


def _write(tokens: list[_Token]) -> str:
    out: list[str] = []
    before: _Token | None = None
    statement = (0, 0)
    for token, gap in zip(tokens, _gaps(tokens), strict=True):
        end = token is tokens[-1]
        if gap.same_line and before is not None and not end:
            out.append(_space(before, token))
        else:
            if gap.trailing:
                out.append(f"  {gap.trailing}")
            indent = _indent(token, statement)
            out += _lines_between(before, token, gap, indent, end=end)
            if not token.flow or token.kind in _OPEN:
                statement = (token.column, indent)
            out.append("" if end else " " * indent)
        out.append(_text(token, statement))
        before = token
    return "".join(out)


def _indent(token: _Token, statement: tuple[int, int]) -> int:
    """The column of the first token of a line."""
    if token.flow or (token.kind in _CLOSE):
        old, new = statement
        minimum = new if token.kind in _CLOSE else new + _STEP
        return max(minimum, token.column + new - old)
    if token.key and token.blocks:
        return token.blocks[-1][1]
    return token.inner


def _lines_between(before: _Token | None, token: _Token, gap: _Gap, indent: int, *, end: bool) -> list[str]:
    """The lines between two tokens: comments, and at most one consecutive empty line."""
    lines: list[str] = []
    for column, comment in gap.lines:
        if comment:
            at = indent
            if before is not None and (end or column > token.column):
                around = next((new for old, new in reversed(before.blocks) if old <= column), 0)
                at = around if end else max(around, indent)
            lines.append(" " * at + comment)
        elif (lines and lines[-1]) or (not lines and before is not None and before.kind is not yaml.ValueToken):
            lines.append("")
    if before is None:
        while lines and not lines[0]:
            lines.pop(0)
        return [f"{line}\n" for line in lines]
    if end:
        while lines and not lines[-1]:
            lines.pop()
        return ["\n", *(f"{line}\n" for line in lines)]
    if token.key and token.blocks and len(token.blocks) == 1 and not any(line == "" for line in lines):
        first = next((index for index, line in enumerate(lines) if not line.startswith(" ")), len(lines))
        lines.insert(first, "")
    return ["\n", *(f"{line}\n" for line in lines)]


def _space(before: _Token, token: _Token) -> str:
    """The space between two tokens on one line."""
    if before.kind is yaml.ValueToken:
        return " "
    if before.kind in _OPEN or token.kind in _CLOSE or token.kind is yaml.FlowEntryToken:
        return ""
    if token.kind is yaml.ValueToken:
        return " " if before.kind is yaml.AliasToken else ""
    return " "


def _text(token: _Token, statement: tuple[int, int]) -> str:
    """The text of a token, with its continuation lines reindented."""
    if "\n" not in token.text:
        return token.text
    first, *rest = token.text.split("\n")
    if token.old_base is None:
        inner = max(token.inner, statement[1] + _STEP) if token.flow else token.inner
        lines = [" " * inner + line.strip(" \t") if line.strip() else "" for line in rest]
        return "\n".join([first.rstrip(" \t"), *lines])
    lines = []
    for line in rest:
        cut = line[token.old_base :]
        lines.append(" " * token.new_base + cut if cut.strip() or (cut and line.strip(" ") == "") else "")
    return "\n".join([first.rstrip(), *lines])
