"""Links in Airflow's UI to what runs on AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context


class AwsLink(BaseOperatorLink):
    """A link whose address the operator leaves in XCom as soon as it knows it, also before it defers.

    Airflow builds a fresh operator after each deferral, so that the link can come from nowhere else.
    """

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """The address, or nothing where the operator has not left one."""
        from airflow.providers.common.compat.sdk import XCom

        return XCom.get_value(key=self.xcom_key, ti_key=ti_key) or ""


def push_links(context: Context, addresses: Mapping[type[AwsLink], str]) -> None:
    """Leave the addresses of links for Airflow's UI."""
    for link, address in addresses.items():
        context["ti"].xcom_push(key=link().xcom_key, value=address)


def console(region: str, path: str) -> str:
    """An address in the AWS console of a region; China and GovCloud have their own."""
    domain = "console.aws.amazon.com"
    if region.startswith("cn-"):
        domain = "console.amazonaws.cn"
    elif region.startswith("us-gov-"):
        domain = "console.amazonaws-us-gov.com"
    return f"https://{region}.{domain}/{path}"


def log_stream(region: str, group: str, stream: str) -> str:
    """The address of a CloudWatch log stream; the console wants names quoted twice, with `$` for the percent sign."""

    def twice(name: str) -> str:
        return quote(quote(name, safe=""), safe="").replace("%", "$")

    place = f"cloudwatch/home?region={region}#logsV2:log-groups/log-group/{twice(group)}/log-events/{twice(stream)}"
    return console(region, place)
