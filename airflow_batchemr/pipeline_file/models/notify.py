"""The `notify` block: notifications about runs and jobs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from airflow_batchemr.pipeline_file.errors import Refusal
from airflow_batchemr.pipeline_file.models.base import TEXT, Form, Model, Raw, Texts, Word, shown

When = Literal["always", "on_failure", "on_change", "on_change_and_failures"]


class Slack(Model):
    """A Slack channel."""

    channel: Word = Field(description="Channel such as `#data`, or a user id")
    conn_id: Word = Field("slack_api_default", description="Airflow connection of the Slack provider")


class PagerDuty(Model):
    """A PagerDuty service."""

    conn_id: Word = Field(
        "pagerduty_events_default", description="Airflow connection of the PagerDuty provider, with the integration key"
    )
    severity: Literal["critical", "error", "warning", "info"] = Field("error", description="Severity of the event")


def _slack(value: object) -> object:
    return {"channel": value} if isinstance(value, str) else value


def _pagerduty(value: object) -> object:
    return {"conn_id": value} if isinstance(value, str) else value


class Notify(Model):
    """A recipient of notifications: exactly one of `email`, `slack`, `pagerduty` and `notifier`."""

    when: When = Field(
        "on_failure",
        description=(
            "When to notify. `on_change`: after the first failure and after the first success that follows; "
            "`on_change_and_failures`: on changes and after every failure"
        ),
    )
    after: Annotated[int, Field(ge=1, le=100)] = Field(
        1, description="Number of consecutive failed runs before the first notification, 1 to 100"
    )
    email: Texts | None = Field(None, description="Email addresses")
    slack: Annotated[Slack, BeforeValidator(_slack), Form((TEXT,))] | None = Field(
        None, description="Slack channel, or a mapping"
    )
    pagerduty: Annotated[PagerDuty, BeforeValidator(_pagerduty), Form((TEXT,))] | None = Field(
        None, description="PagerDuty connection, or a mapping"
    )
    notifier: Word | None = Field(None, description="Dotted path of an Airflow notifier")
    with_: Raw = Field(default_factory=dict, alias="with", description="Arguments of the notifier")

    @model_validator(mode="after")
    def _one_receiver(self) -> Notify:
        kinds = [kind for kind in ("email", "slack", "pagerduty", "notifier") if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise Refusal(
                f"expected exactly one of email, slack, pagerduty, notifier, not {' and '.join(kinds) or 'none'}"
            )
        for position, address in enumerate(self.email or []):
            if "@" not in address and "{{" not in address:
                raise Refusal(f"invalid email address: {address}", at=["email", position])
        if self.with_ and not self.notifier:
            raise Refusal("`with` requires `notifier`: it contains the notifier's arguments", at=["with"])
        return self


def as_notify(value: object) -> object:
    """Convert a single recipient to a list."""
    if isinstance(value, dict | Notify):
        return [value]
    if isinstance(value, list):
        return value
    if isinstance(value, str) and "@" in value:
        raise Refusal(f"expected a mapping, not {value}", f"use `notify: {{email: {value}}}`")
    raise Refusal(
        "expected a mapping such as {email: team@example.com, when: on_failure}, or a list of them, "
        f"not {shown(value)}"
    )
