"""Lines that tell a person how a cluster and its steps get on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_batchemr.aws.emr.poll import Sight

#: A line for each step of a job of up to this many; of larger ones, counts.
EACH = 50


class Progress:
    """Says what has changed from look to look.

    Args:
        cluster_id: the cluster.
        names: what a person calls each step, by step id, in the order in which they run.
    """

    def __init__(self, cluster_id: str, names: Mapping[str, str]) -> None:
        self._cluster_id = cluster_id
        self._names = dict(names)
        self._cluster = ""
        self._steps: dict[str, str] = {}
        self._ended = 0

    def update(self, sight: Sight) -> list[str]:
        """Lines for what has changed since the last look; empty where nothing has."""
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
                    told = f"{state}: {reason}" if reason else state
                    lines.append(f"Step {order.index(id_) + 1}/{len(order)} {self._names[id_]} ({id_}): {told}")
        else:
            ended = sum(step.ended for step in sight.steps.values())
            if ended != self._ended:
                self._ended = ended
                failed = sum(step.state == "FAILED" for step in sight.steps.values())
                lines.append(f"Steps: {ended}/{len(self._names)} ended, {failed} failed")
        self._steps.update(states)
        return lines
