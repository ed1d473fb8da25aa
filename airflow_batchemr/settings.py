"""Settings of this package in the `[batchemr]` section of Airflow's configuration."""

from __future__ import annotations

from dataclasses import fields, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow_batchemr.engine.policy import DEFAULT
from airflow_batchemr.engine.policy import Policy as EnginePolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_batchemr.pipeline_file.policy import Policy

SECTION = "batchemr"


def option(name: str) -> str | None:
    """Return an option of `[batchemr]`, or None if it is not set."""
    from airflow.sdk.configuration import conf

    return conf.get(SECTION, name, fallback=None) or None


def environment() -> str | None:
    """Return the name of the `env` block of pipeline files to apply."""
    return option("environment")


def policy() -> Policy | None:
    """Return the function that checks or changes each pipeline of the organization.

    Raises:
        ImportError: The configured path cannot be imported. No pipeline is built without the policy.
    """
    return policy_at(option("policy"))


def policy_at(path: str | None) -> Policy | None:
    """Return the function at the dotted path of `[batchemr] policy`; None without a path. Does not import Airflow.

    Raises:
        ImportError: The path cannot be imported.
    """
    return load(path, "the function of [batchemr] policy") if path else None


def engine_policy(read: Callable[[str], str | None] = option) -> EnginePolicy:
    """Return the grace periods and limits of the engine: the defaults, overridden by `[batchemr]`.

    Args:
        read: Returns an option of `[batchemr]`, or None if it is not set.

    Raises:
        ValueError: A setting is not a number of seconds.
    """
    values: dict[str, Any] = {}
    for field in fields(EnginePolicy):
        text = read(field.name) if "description" in field.metadata else None
        if text is not None:
            values[field.name] = _seconds(field.name, text)
    policy = replace(DEFAULT, **values)
    if policy.claim_lease <= policy.call_margin:
        raise ValueError(
            f"[batchemr] claim_lease ({policy.claim_lease:g} s) must be longer than call_margin "
            f"({policy.call_margin:g} s), or no call would ever be made"
        )
    return policy


def _seconds(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"[batchemr] {name} is not a number of seconds: {text!r}")
    return seconds


def load(path: str, what: str) -> Any:
    """Import the object at a dotted path.

    Args:
        path: Dotted path, such as `package.module.Name`.
        what: Description of the object for the error message.

    Raises:
        ImportError: Contains the path and the reason.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ImportError(f"cannot import {what}, {path}: {error}") from error
