"""The attempts of an EMR job: claim, call, record; find again, look, conclude, stop."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.emr import clusters, steps
from airflow_batchemr.aws.emr.steps import Step
from airflow_batchemr.aws.emr.submission_view import Look, Open, digests_of, failures_of, plain, titles_of
from airflow_batchemr.aws.errors import AwsError, Refused, Unknown
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.ledger.records import Failure, Handle, Intent, Request, Result, StopRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.aws.emr.step_configs import PlannedStep
    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.ledger import JobLedger, LedgerState, Submission
    from airflow_batchemr.ledger.records import Kind, Outcome

#: Seconds of its lease that a claim keeps for the call itself and for recording its answer.
MARGIN = 15.0


class StoppedError(Exception):
    """The task was killed while it worked."""


class EmrSubmissions:
    """Brings the attempts of one job through their lives; knows nothing that does not stand in the ledger.

    Args:
        clients: AWS.
        ledger: the job's.
        identity: whose work it is.
        sleep: waits; may raise to give up.
        stopping: whether the task has been killed, looked at before each call that starts something.
    """

    def __init__(
        self,
        clients: Clients,
        ledger: JobLedger,
        identity: JobIdentity,
        *,
        sleep: Callable[[float], object] = time.sleep,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._clients = clients
        self._ledger = ledger
        self._identity = identity
        self._sleep = sleep
        self._stopping = stopping
        self.log_uri: str | None = None
        """LogUri of the cluster that was looked at last."""

    # Starting

    def start_cluster(
        self,
        number: int,
        request: dict[str, Any],
        planned: Sequence[PlannedStep],
        rerun_token: str | None,
        *,
        details: dict[str, Any] | None = None,
        indices: IndexSet | None = None,
    ) -> Open | None:
        """Claim an attempt and start its cluster; None where somebody else has claimed the number.

        What comes back has no cluster id where the answer was lost, or the claim ran out before the call.

        Args:
            number: of the attempt.
            request: RunJobFlow's, under the attempt's name.
            planned: the steps that it holds.
            fresh: token of the rerun.
            details: for the intent.
            indices: what the attempt does where it holds no steps.

        Raises:
            Refused: AWS said no; the attempt is closed.
            StoppedError: the task was killed. Nothing runs.
        """
        held = indices if indices is not None else IndexSet.of(step.number for step in planned)
        calls = [Request(name=request["Name"], indices=held, request=plain(request))]
        intent = self._intent(number, "emr", calls, planned, rerun_token=rerun_token, details=details or {})
        if not self._ledger.claim(number, intent):
            return None
        titles = {step.number: step.title(intent.name) for step in planned}

        def start() -> Handle:
            cluster_id = clusters.create(self._clients, request, sleep=self._patience(number))
            return Handle(kind="emr", cluster_id=cluster_id, step_ids=self._ids(cluster_id, titles))

        return self._started(number, intent, titles, start)

    def take_over(
        self, number: int, request: dict[str, Any], cluster_id: str, rerun_token: str | None, details: dict[str, Any]
    ) -> None:
        """Claim an attempt for a cluster that has been kept for it; who reads the ledger next finds it there.

        Args:
            number: of the attempt.
            request: RunJobFlow's, by which the cluster would have been started under the attempt's name.
            cluster_id: the cluster.
            fresh: token of the rerun.
            details: for the intent.
        """
        calls = [Request(name=request["Name"], indices=IndexSet.of([0]), request=plain(request))]
        intent = self._intent(
            number, "emr", calls, (), rerun_token=rerun_token, details={**details, "cluster_id": cluster_id}
        )
        if self._ledger.claim(number, intent):
            self._ledger.record_handle(number, Handle(kind="emr", cluster_id=cluster_id))

    def start_steps(
        self,
        number: int,
        cluster_id: str,
        configs: list[dict[str, Any]],
        planned: Sequence[PlannedStep],
        rerun_token: str | None,
    ) -> Open | None:
        """Claim an attempt and add its steps to a cluster; else as `start_cluster`."""
        held = IndexSet.of(step.number for step in planned)
        request = {"JobFlowId": cluster_id, "Steps": configs}
        name = self._identity.submission_name(number)
        calls = [Request(name=name, indices=held, request=plain(request))]
        intent = self._intent(
            number, "steps", calls, planned, rerun_token=rerun_token, details={"cluster_id": cluster_id}
        )
        if not self._ledger.claim(number, intent):
            return None
        titles = {step.number: step.title(name) for step in planned}

        def start() -> Handle:
            ids = steps.add(self._clients, cluster_id, configs, sleep=self._patience(number))
            known = dict(zip((step.number for step in planned), ids, strict=True))
            return Handle(kind="steps", cluster_id=cluster_id, step_ids=known)

        return self._started(number, intent, titles, start)

    def _intent(
        self,
        number: int,
        kind: Kind,
        calls: list[Request],
        planned: Sequence[PlannedStep],
        *,
        rerun_token: str | None,
        details: dict[str, Any],
    ) -> Intent:
        steps = {str(step.number): {"name": step.name, "digest": step.digest} for step in planned}
        details = {**details, "steps": steps}
        return self._identity.intent(number, kind, calls, calls[0].indices, rerun_token=rerun_token, details=details)

    def _started(self, number: int, intent: Intent, titles: dict[int, str], start: Callable[[], Handle]) -> Open:
        nothing = Handle(kind=intent.kind, abandoned=True)
        try:
            self._guard(number)
            mine = start()
        except Unknown:
            # Perhaps it runs: it is found by its name, now or once this claim's lease has ended.
            found = self._found_soon(intent, titles)
            if found is None:
                return Open(number, intent.kind, None, titles)
            mine = found
        except TimeoutError:
            self._ledger.record_handle(number, nothing)
            return Open(number, intent.kind, None, titles)
        except (AwsError, StoppedError) as error:
            stands = self._ledger.record_handle(number, nothing)
            self._refused(number, intent, stands, error)
            raise
        stands = self._ledger.record_handle(number, mine)
        if stands.writer != mine.writer and (stands.abandoned or stands.cluster_id != mine.cluster_id):
            self._undo(intent.kind, mine)  # somebody else took the attempt over
        opened = Open(number, intent.kind, stands.cluster_id, titles, dict(stands.step_ids))
        if self._stopping():
            self.stop(opened, "the task was killed", by="person")
            raise StoppedError
        return opened

    def _refused(self, number: int, intent: Intent, stands: Handle, error: Exception) -> None:
        if not stands.abandoned:
            return
        reason = str(error) or "the task was killed"
        outcome: Outcome = "failed" if isinstance(error, Refused) else "abandoned"
        failure = Failure(reason=reason, cause="refused" if isinstance(error, Refused) else None)
        self._ledger.record_result(
            number,
            Result(
                kind=intent.kind,
                outcome=outcome,
                indices=intent.indices,
                succeeded=IndexSet(),
                rerun_token=intent.rerun_token,
                failures=[failure],
            ),
        )

    def _undo(self, kind: Kind, mine: Handle) -> None:
        if mine.cluster_id is None:
            return
        if kind == "emr":
            clusters.terminate(self._clients, [mine.cluster_id])
        else:
            steps.cancel(self._clients, mine.cluster_id, mine.step_ids.values())

    def _guard(self, number: int) -> None:
        if self._stopping():
            raise StoppedError
        if self._ledger.lease_left(number) < MARGIN:
            raise TimeoutError

    def _patience(self, number: int) -> Callable[[float], None]:
        def sleep(seconds: float) -> None:
            self._sleep(seconds)
            self._guard(number)

        return sleep

    def _ids(self, cluster_id: str, titles: dict[int, str]) -> dict[int, str]:
        """Step ids of a cluster that has just been started; empty where AWS does not say them now."""
        if not titles:
            return {}
        try:
            return steps.find(self._clients, cluster_id, titles)
        except AwsError:
            return {}

    def _found_soon(self, intent: Intent, titles: dict[int, str]) -> Handle | None:
        for pause in (0.5, 1, 2, 4):
            self._sleep(pause)
            try:
                handle = self._look_for(intent, titles)
            except AwsError:
                continue
            if handle is not None:
                return handle
        return None

    # Finding again

    def adopt(self, submission: Submission, state: LedgerState) -> Open | None:
        """Find out what of an open attempt reached AWS.

        Returns:
            The attempt; without a cluster id while its owner may still be starting it; None where it never reached AWS,
            which is recorded.
        """
        intent = submission.intent
        if intent is None:  # half a record: whoever wrote it has not got to the call
            return (
                None if state.lease_ended(submission) else Open(submission.number, "emr", None, submission=submission)
            )
        if intent.kind not in {"emr", "steps"}:  # somebody has changed what kind of job this is: not ours to judge
            return None
        titles = titles_of(intent)
        handle = submission.handle
        if handle is None:
            handle = self._look_for(intent, titles)
            if handle is not None:
                handle = self._ledger.record_handle(submission.number, handle)
            elif not state.lease_ended(submission):
                return Open(submission.number, intent.kind, None, titles, submission=submission)
            else:
                handle = self._ledger.abandon(submission, intent.kind)
        if handle.abandoned or handle.cluster_id is None:
            return None
        return Open(submission.number, intent.kind, handle.cluster_id, titles, dict(handle.step_ids), submission)

    def _look_for(self, intent: Intent, titles: dict[int, str]) -> Handle | None:
        if intent.kind == "emr" and "cluster_id" in intent.details:  # taken over, not started
            return Handle(kind="emr", cluster_id=str(intent.details["cluster_id"]))
        if intent.kind == "emr":
            found = clusters.find(self._clients, intent.requests[0].name, intent.written_at)
            if not found:
                return None
            # Two of one name cannot be, but if they are, the second one must not go on costing money.
            oldest, *others = found
            clusters.terminate(self._clients, [one.cluster_id for one in others if one.alive])
            return Handle(kind="emr", cluster_id=oldest.cluster_id, step_ids=self._ids(oldest.cluster_id, titles))
        cluster_id = str(intent.details["cluster_id"])
        known = steps.find(self._clients, cluster_id, titles)
        return Handle(kind="steps", cluster_id=cluster_id, step_ids=known) if known else None

    # Looking and concluding

    def look(self, opened: Open) -> Look:
        """Ask AWS how cluster and steps are: DescribeCluster, and ListSteps for each ten steps."""
        assert opened.cluster_id is not None  # noqa: S101 - adopted or started
        said = clusters.describe(self._clients, opened.cluster_id)
        if said is None:
            return Look(None, {})
        self.log_uri = said.get("LogUri")
        if len(opened.step_ids) < len(opened.titles):
            opened.step_ids.update(steps.find(self._clients, opened.cluster_id, opened.titles))
        known = steps.states(self._clients, opened.cluster_id, list(opened.step_ids.values()))
        return Look(said, {n: known[id_] for n, id_ in sorted(opened.step_ids.items()) if id_ in known})

    def over(self, opened: Open, look: Look) -> bool:
        """Whether nothing more can come of the attempt's steps."""
        brief = look.brief
        if brief is None or not brief.alive:
            return True
        ended = [number for number, said in look.steps.items() if Step.of(said).ended]
        return bool(opened.titles) and len(ended) == len(opened.titles)

    def conclude(
        self,
        opened: Open,
        look: Look,
        *,
        rerun_token: str | None,
        indices: IndexSet,
        for_good: bool = True,
        stopped: bool = False,
        failures: Sequence[Failure] = (),
        details: dict[str, Any] | None = None,
    ) -> Result:
        """Record how an attempt ended.

        Args:
            opened: the attempt.
            look: the last look at it.
            fresh: its token.
            indices: what it was to do.
            for_good: whether steps that have completed need not be done again when others have not.
            stopped: whether it was ended on our word.
            failures: why; made of the look where none are given.
            details: for the result, beside cluster and digests.
        """
        done = look.succeeded & indices
        complete = done == indices
        outcome: Outcome = "succeeded"
        if not complete:
            outcome = "lost" if look.cluster is None else "stopped" if stopped else "failed"
        digests = digests_of(opened)
        result = Result(
            kind=opened.kind,
            outcome=outcome,
            indices=indices,
            succeeded=done if complete or for_good else IndexSet(),
            rerun_token=rerun_token,
            failures=list(failures) if complete or failures else failures_of(opened, look),
            details={
                **(details or {}),
                "cluster_id": opened.cluster_id,
                "cluster": plain(look.cluster or {}),
                "digests": {str(number): digests[number] for number in done if number in digests},
            },
            steps=[plain(said) for said in look.steps.values()],
        )
        return self._ledger.record_result(opened.number, result)

    def close_cluster(self, opened: Open, look: Look, *, rerun_token: str | None) -> Result:
        """Record the end of a cluster that served others: well where it was ended on request or when idle."""
        brief = look.brief
        stopped = self._ledger.stop_request(opened.number) is not None
        served = brief is not None and (brief.alive or brief.code in {"USER_REQUEST", "ALL_STEPS_COMPLETED", ""})
        outcome: Outcome = "stopped" if stopped else "succeeded" if served else "failed" if brief else "lost"
        one = IndexSet.of([0])
        result = Result(
            kind="emr",
            outcome=outcome,
            indices=one,
            succeeded=one if outcome == "succeeded" else IndexSet(),
            rerun_token=rerun_token,
            failures=[] if outcome == "succeeded" else failures_of(opened, look),
            details={"cluster_id": opened.cluster_id, "cluster": plain(look.cluster or {})},
        )
        return self._ledger.record_result(opened.number, result)

    # Stopping

    def pause(self, seconds: float = 3.0) -> None:
        """Wait for another process, which may be in the middle of a call; a minute is the most that takes."""
        self._sleep(seconds)

    def stop(self, opened: Open, reason: str, *, by: str) -> None:
        """Leave word that an attempt is to end, then end its cluster, or its steps where the cluster is another's."""
        self._ledger.ask_stop(opened.number, StopRequest(reason=reason, by=by))
        self.end(opened)

    def end(self, opened: Open) -> None:
        """End an attempt's own cluster; of one on another's cluster, cancel the steps."""
        if opened.cluster_id is None:
            return
        if opened.kind == "emr":
            clusters.terminate(self._clients, [opened.cluster_id])
            return
        ids = opened.step_ids or steps.find(self._clients, opened.cluster_id, opened.titles)
        if ids:
            steps.cancel(self._clients, opened.cluster_id, ids.values())
