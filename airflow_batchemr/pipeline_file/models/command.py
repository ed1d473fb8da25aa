"""Commands: a list of arguments, or text that is split into them without a shell."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, WithJsonSchema

from airflow_batchemr.pipeline_file.errors import Refusal
from airflow_batchemr.pipeline_file.models.base import SCALAR, shown, text

if TYPE_CHECKING:
    from pydantic import ValidationInfo

#: Jinja statements that a text command may contain, if they begin and end in one argument.
_STATEMENTS = {"if": 1, "for": 1, "elif": 0, "else": 0, "endif": -1, "endfor": -1}
_CLOSING = {"{{": "}}", "{%": "%}", "{#": "#}"}
#: A string in a Jinja expression, in which braces have no meaning.
_STRING = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'", re.DOTALL)
#: Replaces a template while the text around it is split: a private-use character, which a shell treats as a letter.
_PLACEHOLDER = "\ue000"


def split_command(command: str, *, rendered: bool = False) -> list[str]:
    """Split a text command into arguments like a shell, without running one.

    Quotes and backslashes work; a backslash at the end of a line continues it. `$NAME`, `*`, `|`, `>` and `;` have no
    special meaning and reach the program unchanged. A template (`{{ … }}`) is part of one argument, whatever its
    expression contains.
    Because text is split before it is rendered, a rendered value is always one argument.

    Args:
        command: Text to split. Airflow renders the templates in the arguments later.
        rendered: The text is data, such as the output of another task, in which braces have no meaning.

    Raises:
        Refusal: The command is empty, a quote or template is not closed, or a Jinja statement spans arguments.
    """
    if _PLACEHOLDER in command and not rendered:
        raise Refusal("the command contains the character U+E000, which batchemr needs for itself")
    templates: list[str] = []
    outside: list[str] = []
    at = 0
    while not rendered and (start := _next_template(command, at)) is not None:
        end = _template_end(command, start)
        outside += [command[at:start], _PLACEHOLDER]
        templates.append(command[start:end])
        at = end
    outside.append(command[at:])
    try:
        words = shlex.split(_one_line("".join(outside)))
    except ValueError as error:
        raise Refusal(
            f"the command cannot be split: {str(error).lower()}", "close the quote, or write a list"
        ) from None
    if not words:
        raise Refusal("the command is empty")
    if rendered:
        return words
    found = iter(templates)
    arguments = [re.sub(_PLACEHOLDER, lambda _: next(found), word) for word in words]
    for argument in arguments:
        _check_statements(argument)
    return arguments


def _one_line(command: str) -> str:
    """Remove backslashes at the ends of lines with the line breaks, as a shell does; shlex makes them an argument."""
    if "\\\n" not in command:
        return command
    kept: list[str] = []
    quote, at = "", 0
    while at < len(command):
        size = 2 if command[at] == "\\" and quote != "'" else 1
        part = command[at : at + size]
        if part in ("'", '"') and quote in ("", part):
            quote = "" if quote else part
        if part != "\\\n":
            kept.append(part)
        at += size
    return "".join(kept)


def _next_template(command: str, at: int) -> int | None:
    match = re.compile(r"\{[{%#]").search(command, at)
    return match.start() if match else None


def _template_end(command: str, start: int) -> int:
    """Return the end of the template that begins at `start`. Braces in its strings and dicts do not close it."""
    opening = command[start : start + 2]
    closing = _CLOSING[opening]
    at, depth = start + 2, 0
    while at < len(command):
        string = _STRING.match(command, at) if opening != "{#" else None
        if string:
            at = string.end()
            continue
        if not depth and command.startswith(closing, at):
            return at + 2
        if opening != "{#":
            depth += {"{": 1, "}": -1}.get(command[at], 0)
        at += 1
    raise Refusal(f"`{opening}` is not closed: {shown(command[start:])}", f"write `{closing}` at its end")


def _check_statements(argument: str) -> None:
    """Check that each Jinja block begins and ends in one argument, because arguments are rendered separately."""
    depth = 0
    for statement in re.findall(r"\{%[-+]?\s*(\w*)", argument):
        if statement not in _STATEMENTS:
            raise Refusal(
                f"a text command takes no {{% {statement} %}}: each of its arguments is rendered alone",
                "use {{ … }}, or write the command as a list",
            )
        depth += _STATEMENTS[statement]
        if depth < 0:
            break
    if depth:
        raise Refusal(
            f"a {{% … %}} block must begin and end in the same argument: {shown(argument)}",
            "quote it, or write the command as a list",
        )


def _command(value: object, info: ValidationInfo) -> list[str]:
    if isinstance(value, str):
        return split_command(value, rendered=(info.context or {}).get("rendered") is True)
    if isinstance(value, list):
        if not value:
            raise Refusal("the command is empty")
        return [text(item) for item in value]
    raise Refusal(f"expected a command as text or as a list of arguments, not {shown(value)}")


#: A command as a list of arguments. Text is split. No shell runs unless the command is one (`[sh, -c, …]`).
Command = Annotated[
    list[str],
    BeforeValidator(_command),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": r"\S"}, {"type": "array", "items": SCALAR, "minItems": 1}]}
    ),
]
