"""Send messages to receivers with the notifiers of Airflow's providers."""

from __future__ import annotations

import html
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from airflow_batchemr import settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

#: Key in the pipeline file -> notifier class and the distribution that contains it.
_NOTIFIERS = {
    "email": ("airflow.providers.smtp.notifications.smtp.SmtpNotifier", "apache-airflow-providers-smtp"),
    "slack": ("airflow.providers.slack.notifications.slack.SlackNotifier", "apache-airflow-providers-slack"),
    "pagerduty": (
        "airflow.providers.pagerduty.notifications.pagerduty.PagerdutyNotifier",
        "apache-airflow-providers-pagerduty",
    ),
}


@dataclass(frozen=True)
class Message:
    """A notification.

    Attributes:
        subject: Summary on one line.
        text: Full message as plain text.
        dag_id: Dag id.
        url: URL of the run in Airflow; empty if unknown.
        failed: Whether it reports a failure.
    """

    subject: str
    text: str
    dag_id: str
    url: str = ""
    failed: bool = True


def check(receiver: Mapping[str, Any]) -> None:
    """Check at parse time that the notifier of the receiver is installed.

    Raises:
        ImportError: Names the missing distribution.
    """
    for kind, (path, distribution) in _NOTIFIERS.items():
        if kind in receiver and not _installed(path.rpartition(".")[0]):
            raise ImportError(f"`notify` with {kind} requires {distribution}: install it where Airflow runs")
    if "notifier" in receiver:
        settings.load(receiver["notifier"], "the notifier")


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def send(receiver: Mapping[str, Any], message: Message, context: Context) -> None:
    """Send a message to one receiver.

    Args:
        receiver: One of `email`, `slack`, `pagerduty` and `notifier` (with `with`), as in the file.
        message: Message to send. A custom `notifier` ignores it and writes its own text.
        context: Airflow context, for the templates of a custom notifier.

    Raises:
        Exception: Any error of the notifier. Airflow logs it and continues.
    """
    if "notifier" in receiver:
        settings.load(receiver["notifier"], "the notifier")(**receiver.get("with", {}))(context)
        return
    # Calling the notifier would render templates, and an error message must never be rendered. `notify` does not.
    _notifier(receiver, message).notify(context)


def _notifier(receiver: Mapping[str, Any], message: Message) -> Any:
    kind = next(kind for kind in _NOTIFIERS if kind in receiver)
    notifier_class = settings.load(_NOTIFIERS[kind][0], "the notifier")
    if kind == "email":
        link = f'<p><a href="{html.escape(message.url)}">{html.escape(message.url)}</a></p>' if message.url else ""
        body = f"<pre>{html.escape(message.text)}</pre>{link}"
        return notifier_class(to=receiver["email"], subject=message.subject, html_content=body)
    text = f"{message.subject}\n{message.text}\n{message.url}".rstrip()
    if kind == "slack":
        slack = {"conn_id": "slack_api_default", **receiver["slack"]}
        return notifier_class(slack_conn_id=slack["conn_id"], channel=slack["channel"], text=text)
    pagerduty = {"conn_id": "pagerduty_events_default", "severity": "error", **receiver["pagerduty"]}
    return notifier_class(
        pagerduty_events_conn_id=pagerduty["conn_id"],
        summary=message.subject,
        severity=pagerduty["severity"] if message.failed else "info",
        source=message.dag_id,
        event_action="trigger" if message.failed else "resolve",
        dedup_key=f"batchemr/{message.dag_id}",
        custom_details=text,
    )
