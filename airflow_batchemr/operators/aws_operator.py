"""Arguments that all operators share with those of the amazon provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.operators.mapping import Partial, own_arguments
from airflow_batchemr.operators.options import check_text
from airflow_batchemr.operators.retries import RetryingOperator

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from typing_extensions import Self

_OVERRIDES = "give command=, env=, vcpus=, memory= or gpus=; anything else of SubmitJob goes into submit="
_WAITING = "leave it out: the operator always waits, in the triggerer"
_CONNECTION = "set it in the extra of the connection that aws_conn_id= names"
_RUN = "give on={'emr_serverless': {…}} or on={'emr_eks': {…}}"
#: Arguments of the amazon provider's Batch and EMR operators that these operators do not accept, with replacements.
REPLACED = {
    "application_id": _RUN,
    "array_properties": "give array=",
    "awslogs_enabled": "leave it out: a failure is reported with the end of its logs",
    "awslogs_fetch_interval": "leave it out: a failure is reported with the end of its logs",
    "botocore_config": _CONNECTION,
    "cancel_on_kill": "leave it out: a killed task always stops its work",
    "client_request_token": "leave it out: the operator makes the token from the ledger",
    "cluster_states": "leave it out: cluster_name= finds the cluster that is alive",
    "config": "give deadline=, for a limit of the run's duration",
    "configuration_overrides": "give spark={'conf': …} and a log_uri in on=",
    "container_overrides": _OVERRIDES,
    "deferrable": _WAITING,
    "ecs_properties_override": _OVERRIDES,
    "eks_properties_override": _OVERRIDES,
    "emr_conn_id": "give cluster=",
    "enable_application_ui_links": "leave it out",
    "execution_role_arn": "give the role in on=, or job_role in cluster=",
    "job_driver": "give spark=",
    "job_flow_id": "give cluster_id=",
    "job_flow_name": "give cluster_name=",
    "job_flow_overrides": "give cluster=; anything else of RunJobFlow goes into cluster={'overrides': …}",
    "job_id": "leave it out: the operator finds its jobs in the ledger",
    "job_name": "give job=, the job's name in the ledger, from which the name on AWS is made",
    "job_retry_max_attempts": "give retries=",
    "max_polling_attempts": _WAITING,
    "max_retries": _WAITING,
    "name": "give job=, the job's name in the ledger, from which the name on AWS is made",
    "node_overrides": _OVERRIDES,
    "openlineage_inject_parent_job_info": "leave it out",
    "openlineage_inject_transport_info": "leave it out",
    "overrides": _OVERRIDES,
    "poll_interval": _WAITING,
    "release_label": _RUN,
    "retry_strategy": "give attempts= and retry_on=",
    "scheduling_priority_override": "give scheduling_priority=",
    "status_retries": _WAITING,
    "submit_job_timeout": "give timeout= for an attempt, or deadline= for the whole job",
    "tags": "leave it out: the work on AWS is tagged with the run's identity; a cluster takes cluster={'tags': …}",
    "terminate_job_flow_on_failure": "leave it out: give on_failure=, and the cluster ends after its steps in any case",
    "verify": _CONNECTION,
    "virtual_cluster_id": _RUN,
    "wait_for_completion": _WAITING,
    "wait_policy": _WAITING,
    "waiter_delay": _WAITING,
    "waiter_max_attempts": _WAITING,
    "waiters": _WAITING,
}


class AwsOperator(RetryingOperator):
    """Base of the operators that call AWS.

    Args:
        aws_conn_id: Airflow connection for all calls.
        region: AWS region. Defaults to that of the connection.
        region_name: The amazon provider's name for `region`.
        **kwargs: Arguments of `RetryingOperator` and of Airflow's BaseOperator.

    Raises:
        TypeError: An argument of the amazon provider is not accepted. The message names the replacement.
    """

    #: Arguments of the amazon provider that the operator does not accept, and what to give instead.
    replaced: Mapping[str, str] = REPLACED

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:  # noqa: ARG004 - of the constructor
        """Explain an unknown argument, before Airflow names only the required arguments that are missing."""
        explain(cls, kwargs)
        return super().__new__(cls)

    def __init__(
        self,
        *,
        aws_conn_id: str | None = "aws_default",
        region: str | None = None,
        region_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if region and region_name and region != region_name:
            raise TypeError(f"{type(self).__name__}: region and region_name are the same argument: give one")
        super().__init__(**kwargs)
        check_text(aws_conn_id=aws_conn_id, region=region, region_name=region_name)
        self.aws_conn_id = aws_conn_id
        self.region = region or region_name

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Start to define a mapped task, as in Airflow.

        Raises:
            TypeError: As in the constructor.
        """
        explain(cls, kwargs)
        return Partial.of(super().partial(**kwargs), kwargs)

    @classmethod
    def prepare_mapped(cls, kwargs: dict[str, Any], given: Mapping[str, Any], names: set[str]) -> None:  # noqa: ARG003
        """Check or change the arguments of `partial` before the task is mapped.

        Args:
            kwargs: What Airflow stores as arguments of `partial`.
            given: Arguments of `partial` and `default_args`.
            names: Names of the mapped arguments, as far as they are known.

        Raises:
            TypeError: As in the constructor.
        """
        explain(cls, names)


def explain(operator: type[AwsOperator], names: Iterable[str]) -> None:
    """Check that no argument is one of the amazon provider that the operator does not accept.

    Raises:
        TypeError: Names the arguments and what to give instead.
    """
    found = [name for name in names if name in operator.replaced and name not in own_arguments(operator)]
    if found:
        instead = ", ".join(f"{name} ({operator.replaced[name]})" for name in found)
        raise TypeError(f"{operator.__name__} does not take {instead}")
