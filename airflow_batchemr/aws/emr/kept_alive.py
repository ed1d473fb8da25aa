"""Finding the cluster that `keep_alive` has left for later tries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.emr import clusters
from airflow_batchemr.aws.emr.clusters import Cluster
from airflow_batchemr.aws.emr.submission_view import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.aws.emr.request import Variant
    from airflow_batchemr.ledger import JobLedger

#: Fields of RunJobFlow that differ between submissions with the same options.
_OF_THE_SUBMISSION = frozenset({"Name", "Steps", "Tags"})


def kept_cluster(
    clients: Clients, ledger: JobLedger, ways: Sequence[Variant], request: Callable[[Variant], dict[str, Any]]
) -> str | None:
    """The id of the cluster that an earlier submission started, if it still accepts steps.

    Its options must be the current ones: changed options need a new cluster.

    Args:
        clients: AWS.
        ledger: of the job, or of the cluster.
        ways: the variants of the cluster.
        request: builds the RunJobFlow request of a variant.
    """
    for submission in reversed(ledger.history().submissions):
        intent, handle = submission.intent, submission.handle
        started = intent is not None and intent.kind == "emr" and "cluster_id" not in intent.details
        if not started or submission.stop is not None or handle is None or handle.cluster_id is None or submission.open:
            continue
        assert intent is not None  # noqa: S101 - it has been started
        description = clusters.describe(clients, handle.cluster_id)
        if description is None or not Cluster.of(description).alive:
            continue
        number = intent.details.get("variant")
        if not isinstance(number, int) or number >= len(ways):
            continue
        if _of_cluster(intent.requests[0].request) == _of_cluster(plain(request(ways[number]))):
            return handle.cluster_id
    return None


def _of_cluster(request: dict[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in request.items() if field not in _OF_THE_SUBMISSION}
