"""`batchemr`: the command line."""

from __future__ import annotations


def main() -> None:
    """Run the command line. A command's module is imported only when the command is called."""
    from airflow_batchemr.cli.app import app

    app()


__all__ = ["main"]
