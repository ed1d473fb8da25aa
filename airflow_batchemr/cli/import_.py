"""`batchemr import`: convert definitions of other systems to pipeline files and report differences in meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Convert definitions of other systems to pipeline files.",
)

_Files = Annotated[list[Path], typer.Argument(help="JSON files.", metavar="FILE...")]
_Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Folder for the pipeline files. Default: print them.", metavar="DIR"),
]
_Json = Annotated[bool, typer.Option("--json", help="Print the report as one JSON object per line.")]


@app.command()
def sundial(
    files: _Files,
    output: _Output = None,
    queue: Annotated[
        str | None, typer.Option("--queue", help="Job queue for jobs that do not name one (Sundial's batch.job.queue).")
    ] = None,
    json_: _Json = False,
) -> None:
    """Convert Sundial process definitions.

    Each FILE contains one process definition or a list of them, and becomes one pipeline file of the same name.
    Differences in meaning are printed and added as comments in the pipeline file. A Quartz schedule that cannot be
    expressed exactly as a cron expression is rejected; the pipeline then has no schedule.

    Exit codes: 0: everything was converted; 1: something was rejected or has errors; 2: usage error.

        batchemr import sundial processes/*.json -o pipelines/

        batchemr import sundial process.json --queue data > pipeline.yaml
    """
    from airflow_batchemr.cli.importing import import_files
    from airflow_batchemr.pipeline_file.importers.sundial import translate

    sound = import_files(files, "Sundial", lambda data, _: translate(data, queue), output, json_=json_)
    raise typer.Exit(0 if sound else 1)


@app.command("step-functions")
def step_functions(files: _Files, output: _Output = None, json_: _Json = False) -> None:
    """Convert AWS Step Functions state machines that consist of AWS Batch and EMR tasks.

    Each FILE contains a state machine in Amazon States Language (JSON), and becomes one pipeline in a file of the same
    name. Differences in meaning are printed and added as comments in the pipeline file. A state machine with states
    that pipelines do not support (Choice, Lambda, paths known only at run time) is rejected with all reasons.

    Exit codes: 0: everything was converted; 1: something was rejected or has errors; 2: usage error.

        batchemr import step-functions etl.asl.json -o pipelines/
    """
    from airflow_batchemr.cli.importing import import_files
    from airflow_batchemr.pipeline_file.importers.step_functions import translate

    sound = import_files(files, "AWS Step Functions", translate, output, json_=json_, keep_invalid=False)
    raise typer.Exit(0 if sound else 1)
