"""Show what a command is about to end on AWS, and ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from airflow_batchemr.cli import common
from airflow_batchemr.core.foreign_text import clean_line
from airflow_batchemr.core.log_lines import cut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_batchemr.cli.inventory import Started

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before ending anything: for scripts.")]

#: Maximum number of characters per line: reasons come from the ledger, and a long one would hide the other lines.
WIDTH = 500
#: What costs most comes first.
_ORDER = ("cluster", "run", "job", "step")


def check_can_ask(option: str, *, yes: bool) -> None:
    """Reject an option that asks if there is nobody to answer.

    Raises:
        typer.Exit: There is no terminal: exit code 2, before any call.
    """
    if not yes and not common.has_terminal():
        common.say(f"error: {option} asks before it ends anything, and there is no terminal: add --yes")
        raise typer.Exit(2)


def confirm(wanted: Sequence[tuple[Started, str]], *, yes: bool) -> None:
    """List what will be ended and why, on stderr, and ask.

    Raises:
        typer.Exit: The answer is no: exit code 1, and nothing has been changed.
    """
    common.say("To be ended:")
    for one, reason in sorted(wanted, key=lambda item: (_ORDER.index(item[0].kind), -item[0].age)):
        text = f"{one.kind} {one.id} {one.name} {one.state}, {common.duration(one.age)} old: {reason}"
        common.say(f"  {cut(clean_line(text), WIDTH)}")
    if yes or typer.confirm(f"End {'these' if len(wanted) > 1 else 'it'}?", err=True):
        return
    common.say("nothing was ended")
    raise typer.Exit(1)
