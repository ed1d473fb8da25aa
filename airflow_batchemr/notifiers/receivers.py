"""Send messages to receivers with the notifiers of Airflow's providers."""

from __future__ import annotations

import html
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from airflow_batchemr import settings
from airflow_batchemr.core.foreign_text import clean, clean_line

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

#: Characters of the text in one block. Slack accepts 3,000 in a section block, and may count some of them twice.
_BLOCK = 1_500
#: Maximum number of blocks that show the text. Slack accepts 50 blocks in one message.
_BLOCKS = 10


@dataclass(frozen=True)
class Message:
    """A notification. Its text is made safe to display: it may quote logs, the ledger and AWS.

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

    def __post_init__(self) -> None:
        for name, cleaned in (("subject", clean_line), ("text", clean), ("dag_id", clean_line), ("url", clean_line)):
            object.__setattr__(self, name, cleaned(getattr(self, name)))


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
        return notifier_class(
            slack_conn_id=slack["conn_id"],
            channel=slack["channel"],
            text=_slack_escaped(text),
            blocks=_blocks(message),
            unfurl_links=False,
            unfurl_media=False,
        )
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


def _blocks(message: Message) -> list[dict[str, Any]]:
    """Return the message as blocks of Slack, as plain text: without mentions, links and formatting."""
    texts = [message.text[at : at + _BLOCK] for at in range(0, min(len(message.text), _BLOCKS * _BLOCK), _BLOCK)]
    plain = [{"type": "plain_text", "text": text, "emoji": False} for text in (message.subject, *texts) if text.strip()]
    blocks: list[dict[str, Any]] = [{"type": "section", "text": text} for text in plain]
    if message.url:
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": f"<{_slack_escaped(message.url)}>"}})
    return blocks


def _slack_escaped(text: str) -> str:
    """Escape the three characters with which Slack's mentions and links begin and end."""
    return html.escape(text, quote=False)
