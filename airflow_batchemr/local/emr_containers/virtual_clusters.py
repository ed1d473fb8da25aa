"""Virtual clusters of the local EMR on EKS."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_batchemr.local.emr.state import ACCOUNT, now

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["VirtualCluster"]


@dataclass(eq=False)
class VirtualCluster:
    """A virtual cluster: a namespace of an EKS cluster, which need not exist.

    Attributes:
        number: Sequence number of the virtual cluster, used for paging.
        request: Parameters of CreateVirtualCluster.
    """

    number: int
    id: str
    region: str
    request: dict[str, Any]
    tags: dict[str, str]
    state: str = "RUNNING"
    created: datetime = field(default_factory=now)

    @property
    def arn(self) -> str:
        """ARN."""
        return f"arn:aws:emr-containers:{self.region}:{ACCOUNT}:/virtualclusters/{self.id}"

    @property
    def namespace(self) -> tuple[str, str | None]:
        """EKS cluster and namespace, for which at most one virtual cluster can be active."""
        provider = self.request["containerProvider"]
        return provider["id"], provider.get("info", {}).get("eksInfo", {}).get("namespace")
