"""A cluster that serves other jobs: started once for a run, found again, started anew where it has gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batchemr.aws.emr.advance import UNKNOWN_PAUSE, Failed, Move
from airflow_batchemr.aws.emr.own_cluster import failed_start_elsewhere, next_variant
from airflow_batchemr.aws.emr.request import variants
from airflow_batchemr.core.indices import IndexSet

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.aws.emr.own_cluster import ClusterWords
    from airflow_batchemr.aws.emr.submission_view import Look, Open
    from airflow_batchemr.aws.emr.submissions import EmrSubmissions
    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.ledger import JobLedger, LedgerState

#: A cluster is one piece of work in its ledger.
ONE = IndexSet.of([0])


class ClusterJob:
    """See the module.

    Args:
        words: of the cluster.
        clients: AWS.
        identity: whose cluster it is.
        attempts: of its ledger.
        ledger: the cluster's own.
        serves: ledger names of the jobs that it is for; they stand in its intent, for whoever looks for orphans.
    """

    def __init__(
        self,
        words: ClusterWords,
        clients: Clients,
        identity: JobIdentity,
        submissions: EmrSubmissions,
        ledger: JobLedger,
        *,
        used_by: Sequence[str] = (),
    ) -> None:
        self._words = words
        self._clients = clients
        self._identity = identity
        self._attempts = submissions
        self._ledger = ledger
        self._used_by = list(used_by)
        self.before: Collection[int] | None = None
        """Attempts whose failures are those of earlier tries, from the moment on at which they are known."""

    def run(self, state: LedgerState, rerun_token: str | None, before: Iterable[int] | None) -> Move:
        """Bring the cluster forward: `wait` until it is up, `mark` when it is, `fail` where it could not start.

        Raises:
            AwsError: a call failed.
            StoppedError: the task was killed.
        """
        forgiven = None if before is None else set(before)
        last: Failed | None = None
        while True:
            opens = [self._attempts.adopt(submission, state) for submission in state.open_submissions]
            known = [one for one in opens if one is not None]
            if any(one.cluster_id is None for one in known):
                self._attempts.pause(UNKNOWN_PAUSE)
                state = self._ledger.read()
                continue
            pairs = [(one, self._look(one)) for one in known]
            if forgiven is None:
                forgiven = {one.number for one, look in pairs if look.brief is None or not look.brief.alive}
            self.before = forgiven
            alive = [(one, look) for one, look in pairs if look.brief is not None and look.brief.alive]
            failed = [self._close(one, look) for one, look in pairs if look.brief is None or not look.brief.alive]
            if alive:
                opened, look = alive[-1]
                up = look.brief is not None and look.brief.up
                return Move("mark" if up else "wait", state, [opened], forgiven, cluster_id=opened.cluster_id)
            failed = [one for one in failed if one.opened.number not in forgiven and one.result.outcome != "stopped"]
            last = failed[0] if failed else last
            position = next_variant(self._words, last)
            if last is not None and (position is None or not failed_start_elsewhere(last)):
                return Move("fail", state, before=forgiven, failed=[last])
            state = self._ledger.read() if pairs or len(known) < len(opens) else state
            started = self._start(state.next_number, position or 0, rerun_token)
            state = self._ledger.read()
            if started is not None and started.cluster_id is not None:
                return Move("wait", state, [started], forgiven, cluster_id=started.cluster_id)

    def _start(self, number: int, position: int, rerun_token: str | None) -> Open | None:
        variant = variants(self._words.emr)[position]
        folder = self._ledger.document_uri("")
        request = self._words.request(self._identity, number, (), stays=True, variant=variant, folder=folder)
        self._words.prepare(self._clients, self._ledger, request)
        details = {"variant": position, "keep_alive": self._words.emr.keep_alive, "used_by": self._used_by}
        kept = self._words.kept(self._clients, self._ledger, self._identity) if number > 1 and not position else None
        if kept is not None:
            self._attempts.take_over(number, request, kept, rerun_token, details)
            return None
        return self._attempts.start_cluster(number, request, (), rerun_token, details=details, indices=ONE)

    def _look(self, opened: Open) -> Look:
        look = self._attempts.look(opened)
        if opened.submission is not None and opened.submission.stop is not None and look.brief and look.brief.alive:
            # Whoever left the word may not have got to the call
            self._attempts.end(opened)
            look = self._attempts.look(opened)
        return look

    def _close(self, opened: Open, look: Look) -> Failed:
        return Failed(opened, look, self._attempts.close_cluster(opened, look, rerun_token=_fresh(opened)))


def _fresh(opened: Open) -> str | None:
    return opened.submission.rerun_token if opened.submission else None
