"""The ways to reach somebody, by the notifiers of Airflow's own providers."""

from __future__ import annotations

import html
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from airflow_batchemr import settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

#: Word of the file -> the notifier, and the distribution that it comes with.
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
    """What is told.

    Attributes:
        subject: one line.
        text: all of it; plain text.
        dag_id: the pipeline.
        url: of the run in Airflow, empty where it is not known.
        failed: whether it is bad news.
    """

    subject: str
    text: str
    dag_id: str
    url: str = ""
    failed: bool = True


def check(receiver: Mapping[str, Any]) -> None:
    """Find out at parse time whether the receiver can be reached by what is installed.

    Raises:
        ImportError: with the distribution that is missing.
    """
    for word, (path, distribution) in _NOTIFIERS.items():
        if word in receiver and not _installed(path.rpartition(".")[0]):
            raise ImportError(f"`notify` with {word} needs {distribution}: install it where Airflow runs")
    if "notifier" in receiver:
        settings.load(receiver["notifier"], "the notifier")


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def send(receiver: Mapping[str, Any], message: Message, context: Context) -> None:
    """Tell one receiver.

    Args:
        receiver: one of `email`, `slack`, `pagerduty` and `notifier` (with `with`), as in the file.
        message: what to tell; a notifier of the user's own writes its own text.
        context: Airflow's, for that notifier's templates.

    Raises:
        Exception: whatever the notifier raises; Airflow logs it and goes on.
    """
    if "notifier" in receiver:
        settings.load(receiver["notifier"], "the notifier")(**receiver.get("with", {}))(context)
        return
    # `notify` and not a call: a call would fill in templates, and an error's text is not ours to execute.
    _notifier(receiver, message).notify(context)


def _notifier(receiver: Mapping[str, Any], message: Message) -> Any:
    word = next(word for word in _NOTIFIERS if word in receiver)
    make = settings.load(_NOTIFIERS[word][0], "the notifier")
    if word == "email":
        link = f'<p><a href="{html.escape(message.url)}">{html.escape(message.url)}</a></p>' if message.url else ""
        body = f"<pre>{html.escape(message.text)}</pre>{link}"
        return make(to=receiver["email"], subject=message.subject, html_content=body)
    text = f"{message.subject}\n{message.text}\n{message.url}".rstrip()
    if word == "slack":
        slack = {"conn_id": "slack_api_default", **receiver["slack"]}
        return make(slack_conn_id=slack["conn_id"], channel=slack["channel"], text=text)
    pagerduty = {"conn_id": "pagerduty_events_default", "severity": "error", **receiver["pagerduty"]}
    return make(
        pagerduty_events_conn_id=pagerduty["conn_id"],
        summary=message.subject,
        severity=pagerduty["severity"] if message.failed else "info",
        source=message.dag_id,
        event_action="trigger" if message.failed else "resolve",
        dedup_key=f"batchemr/{message.dag_id}",
        custom_details=text,
    )
