"""`batchemr fmt`: format pipeline files."""

from __future__ import annotations

import difflib
import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from airflow_batchemr.cli.safe_output import write_exact

app = typer.Typer(
    add_completion=False, context_settings={"help_option_names": ["-h", "--help"]}, pretty_exceptions_enable=False
)


@app.command()
def fmt(
    files: Annotated[list[Path], typer.Argument(help="Pipeline files or folders; - reads stdin.", metavar="FILE...")],
    check: Annotated[bool, typer.Option("--check", help="Do not write; exit with 1 if a file would change.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Do not write; show the changes as a diff.")] = False,
) -> None:
    """Format indentation, spaces and empty lines of pipeline files. Comments, keys, values and quotes do not change.

    A file is written only if its content is the same afterwards. `.json` files are skipped.

    Exit codes: 0: success; 1: a file is not valid YAML, or would change with --check.

        batchemr fmt dags/

        batchemr fmt - < pipelines.yaml
    """
    from airflow_batchemr.pipeline_file import PipelineFileError, find_files

    failed = changed = 0
    found = [file for path in files for file in (find_files(path) if str(path) != "-" else [path])]
    for file in found:
        if file.suffix == ".json":
            continue
        try:
            changed += _format(file, write=not check and not diff, diff=diff)
        except PipelineFileError as error:
            sys.stderr.write(f"{error}\n")
            failed += 1
        except (OSError, UnicodeDecodeError) as error:
            sys.stderr.write(f"{file}: error: {error}\n")
            failed += 1
    raise typer.Exit(1 if failed or (check and changed) else 0)


def _format(file: Path, *, write: bool, diff: bool) -> bool:
    from airflow_batchemr.pipeline_file.formatting import format_text

    if str(file) == "-":
        write_exact(format_text(sys.stdin.read(), "<stdin>"))
        return False
    before = file.read_bytes().decode("utf-8")
    after = format_text(before, file)
    if after == before:
        return False
    if diff:
        lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), str(file), str(file))
        write_exact("".join(lines))
    elif write:
        _replace(file, after)
        sys.stdout.write(f"{file}: formatted\n")
    else:
        sys.stdout.write(f"{file}: would be formatted\n")
    return True


def _replace(file: Path, text: str) -> None:
    """Replace the file atomically, keeping its permissions. Symbolic links are followed, not replaced."""
    target = Path(os.path.realpath(file))
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
        Path(name).chmod(target.stat().st_mode & 0o7777)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
