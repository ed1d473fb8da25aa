"""Resolve the secrets of a container with the local Secrets Manager and Parameter Store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_batchemr.local.upstream import Upstream, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SecretError", "resolve"]


class SecretError(Exception):
    """A secret cannot be read. The message is that of ECS."""


def resolve(upstream: Upstream, region: str, described: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment variables for the `secrets` of a container.

    Raises:
        SecretError: A secret cannot be read.
    """
    found = {}
    for secret in described.get("secrets", []):
        address = secret["valueFrom"]
        try:
            found[secret["name"]] = _value(upstream, region, address)
        except (UpstreamError, KeyError, ValueError) as error:
            raise SecretError(
                f"ResourceInitializationError: unable to pull secrets or registry auth: {address}: {error}"
            ) from error
    return found


def _value(upstream: Upstream, region: str, address: str) -> str:
    if ":secretsmanager:" in address:
        # arn:aws:secretsmanager:region:account:secret:name[:json key[:version stage[:version id]]]
        parts = address.split(":")
        given = {"SecretId": ":".join(parts[:7])}
        text = str(upstream.json("secretsmanager", region, "secretsmanager.GetSecretValue", given)["SecretString"])
        key = parts[7] if len(parts) > 7 else ""
        return str(json.loads(text)[key]) if key else text
    name = address.rpartition(":parameter")[2] if address.startswith("arn:") else address
    params = {"Name": name, "WithDecryption": True}
    return str(upstream.json("ssm", region, "AmazonSSM.GetParameter", params)["Parameter"]["Value"])
