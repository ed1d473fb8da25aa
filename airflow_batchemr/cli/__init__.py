"""`batchemr`: the command line."""

from __future__ import annotations


def main() -> None:
    """Run the command line; the modules of a command are imported when it is called."""
    from airflow_batchemr.cli.app import app

    app()


__all__ = ["main"]
