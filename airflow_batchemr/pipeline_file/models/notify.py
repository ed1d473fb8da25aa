"""Who is told about a run, and when."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from airflow_batchemr.pipeline_file.errors import Refusal
from airflow_batchemr.pipeline_file.models.base import TEXT, Form, Model, Raw, Texts, Word, shown

When = Literal["always", "on_failure", "on_change", "on_change_and_failures"]


class Slack(Model):
    """A Slack channel.

    Attributes:
        channel: `#channel` or a user's id.
        conn_id: Airflow connection of the Slack provider.
    """

    channel: Word
    conn_id: Word = "slack_api_default"


class PagerDuty(Model):
    """A PagerDuty service.

    Attributes:
        conn_id: Airflow connection of the PagerDuty provider, which holds the integration key.
        severity: of the event.
    """

    conn_id: Word = "pagerduty_events_default"
    severity: Literal["critical", "error", "warning", "info"] = "error"


def _slack(value: object) -> object:
    return {"channel": value} if isinstance(value, str) else value


def _pagerduty(value: object) -> object:
    return {"conn_id": value} if isinstance(value, str) else value


class Notify(Model):
    """One receiver; exactly one of email, slack, pagerduty and notifier.

    Attributes:
        when: always, on_failure, on_change (from good to bad and back), or on_change_and_failures.
        after: told once this many runs in a row have failed.
        email: addresses.
        slack: a channel.
        pagerduty: a service.
        notifier: dotted path of any Airflow notifier; `with_` are its arguments.
    """

    when: When = "on_failure"
    after: Annotated[int, Field(ge=1, le=100)] = 1
    email: Texts | None = None
    slack: Annotated[Slack, BeforeValidator(_slack), Form((TEXT,))] | None = None
    pagerduty: Annotated[PagerDuty, BeforeValidator(_pagerduty), Form((TEXT,))] | None = None
    notifier: Word | None = None
    with_: Raw = Field(default_factory=dict, alias="with")

    @model_validator(mode="after")
    def _one_receiver(self) -> Notify:
        kinds = [kind for kind in ("email", "slack", "pagerduty", "notifier") if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise Refusal(
                f"expected exactly one of email, slack, pagerduty, notifier, not {' and '.join(kinds) or 'none'}"
            )
        for position, address in enumerate(self.email or []):
            if "@" not in address and "{{" not in address:
                raise Refusal(f"not a mail address: {address}", at=["email", position])
        if self.with_ and not self.notifier:
            raise Refusal("`with` holds the arguments of a notifier: name one under `notifier`", at=["with"])
        return self


def as_notify(value: object) -> object:
    """One receiver or several, as a list."""
    if isinstance(value, dict | Notify):
        return [value]
    if isinstance(value, list):
        return value
    if isinstance(value, str) and "@" in value:
        raise Refusal(f"expected a mapping, not {value}", f"write `notify: {{email: {value}}}`")
    raise Refusal(
        f"expected a mapping like {{email: team@example.com, when: on_failure}}, or a list of them, not {shown(value)}"
    )
