"""`batchemr import`: other systems' definitions to pipeline files, with a report of what changes in meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Translate other systems' definitions to pipeline files.",
)

_Files = Annotated[list[Path], typer.Argument(help="JSON files.", metavar="FILE...")]
_Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Folder for the pipeline files; without it they are printed.", metavar="DIR"),
]
_Json = Annotated[bool, typer.Option("--json", help="The report as one JSON object a line.")]


@app.command()
def sundial(
    files: _Files,
    output: _Output = None,
    queue: Annotated[
        str | None, typer.Option("--queue", help="Job queue of the jobs that name none (Sundial's batch.job.queue).")
    ] = None,
    json_: _Json = False,
) -> None:
    """Translate Sundial's process definitions.

    Each FILE is one process definition or a list of them, and becomes one pipeline file of the same name. What
    changes in meaning is told on the screen and stands as a comment at its place. A Quartz schedule that no cron
    expression says exactly is refused: its pipeline then has no schedule.

    Exit code 0: all was translated; 1: something was refused or is wrong; 2: wrong usage.

        batchemr import sundial processes/*.json -o pipelines/

        batchemr import sundial process.json --queue data > pipeline.yaml
    """
    from airflow_batchemr.cli.importing import import_files
    from airflow_batchemr.pipeline_file.importers.sundial import translate

    sound = import_files(files, "Sundial", lambda data, _: translate(data, queue), output, json_=json_)
    raise typer.Exit(0 if sound else 1)


@app.command("step-functions")
def step_functions(files: _Files, output: _Output = None, json_: _Json = False) -> None:
    """Translate state machines of AWS Step Functions made of AWS Batch and EMR tasks.

    Each FILE is a state machine in Amazon States Language (JSON), and becomes a pipeline and a file of its name. What
    changes in meaning is told on the screen and stands as a comment at its place. A machine with a state that no
    pipeline says (Choice, Lambda, a path that only a run knows) is refused with all of its reasons.

    Exit code 0: all was translated; 1: something was refused or is wrong; 2: wrong usage.

        batchemr import step-functions etl.asl.json -o pipelines/
    """
    from airflow_batchemr.cli.importing import import_files
    from airflow_batchemr.pipeline_file.importers.step_functions import translate

    sound = import_files(files, "AWS Step Functions", translate, output, json_=json_)
    raise typer.Exit(0 if sound else 1)
