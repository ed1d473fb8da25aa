"""Log lines about the progress of a cluster and its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_batchemr.aws.emr.poll import Sight

#: Up to this many steps, each one gets its own lines; above, only counts are logged.
EACH = 50


class Progress:
    """Turns polls of a cluster into log lines about what has changed.

    Args:
        cluster_id: the cluster.
        names: display names of the steps by step id, in the order in which they run.
    """

    def __init__(self, cluster_id: str, names: Mapping[str, str]) -> None:
        self._cluster_id = cluster_id
        self._names = dict(names)
        self._cluster = ""
        self._steps: dict[str, str] = {}
        self._ended = 0

    def update(self, sight: Sight) -> list[str]:
        """Lines for what has changed since the last poll; empty if nothing has."""
        lines = []
        if sight.cluster.why != self._cluster:
            self._cluster = sight.cluster.why
            lines.append(f"Cluster {self._cluster_id}: {self._cluster}")
        states = {id_: step.state for id_, step in sight.steps.items()}
        if len(self._names) <= EACH:
            order = list(self._names)
            for id_ in order:
                state = states.get(id_)
                if state not in {None, "PENDING"} and state != self._steps.get(id_):
                    reason = sight.steps[id_].reason
                    status = f"{state}: {reason}" if reason else state
                    lines.append(f"Step {order.index(id_) + 1}/{len(order)} {self._names[id_]} ({id_}): {status}")
        else:
            ended = sum(step.ended for step in sight.steps.values())
            if ended != self._ended:
                self._ended = ended
                failed = sum(step.state == "FAILED" for step in sight.steps.values())
                lines.append(f"Steps: {ended}/{len(self._names)} ended, {failed} failed")
        self._steps.update(states)
        return lines
