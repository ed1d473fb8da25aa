"""Base of the links from task instances in Airflow's UI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context


class AwsLink(BaseOperatorLink):
    """A link whose URL the operator pushes to XCom as soon as it is known, before it defers.

    Airflow creates a new operator instance after each deferral, so the URL cannot be kept on the operator.
    """

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """Return the URL, or an empty string if the operator has not pushed one."""
        from airflow.providers.common.compat.sdk import XCom

        return XCom.get_value(key=self.xcom_key, ti_key=ti_key) or ""


def push_links(context: Context, addresses: Mapping[type[AwsLink], str]) -> None:
    """Push the URLs of links to XCom for Airflow's UI."""
    for link, address in addresses.items():
        context["ti"].xcom_push(key=link().xcom_key, value=address)


def console(region: str, path: str) -> str:
    """Return a URL in the AWS console of a region. China and GovCloud have separate consoles."""
    domain = "console.aws.amazon.com"
    if region.startswith("cn-"):
        domain = "console.amazonaws.cn"
    elif region.startswith("us-gov-"):
        domain = "console.amazonaws-us-gov.com"
    return f"https://{region}.{domain}/{path}"


def log_stream(region: str, group: str, stream: str) -> str:
    """Return the URL of a CloudWatch log stream. The console expects names quoted twice, with `$` instead of `%`."""

    def twice(name: str) -> str:
        return quote(quote(name, safe=""), safe="").replace("%", "$")

    path = f"cloudwatch/home?region={region}#logsV2:log-groups/log-group/{twice(group)}/log-events/{twice(stream)}"
    return console(region, path)
