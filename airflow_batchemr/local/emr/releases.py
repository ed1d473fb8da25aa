"""Release labels and their application versions, as documented by AWS."""

from __future__ import annotations

__all__ = ["RELEASES"]


def _release(spark: str, hadoop: str, hive: str, **more: str) -> dict[str, str]:
    return {"Hadoop": hadoop, "Hive": hive, "Spark": spark, **more}


#: A selection of releases, newest first. Source: "About Amazon EMR releases" in the EMR release guide.
RELEASES: dict[str, dict[str, str]] = {
    "emr-7.10.0": _release("3.5.5", "3.4.1", "3.1.3", Livy="0.8.0", Tez="0.10.2", JupyterEnterpriseGateway="2.6.0"),
    "emr-7.9.0": _release("3.5.5", "3.4.1", "3.1.3", Livy="0.8.0", Tez="0.10.2", JupyterEnterpriseGateway="2.6.0"),
    "emr-7.8.0": _release("3.5.4", "3.4.1", "3.1.3", Livy="0.8.0", Tez="0.10.2", JupyterEnterpriseGateway="2.6.0"),
    "emr-7.7.0": _release("3.5.3", "3.4.0", "3.1.3", Livy="0.8.0", Tez="0.10.2", JupyterEnterpriseGateway="2.6.0"),
    "emr-7.6.0": _release("3.5.3", "3.4.0", "3.1.3", Livy="0.8.0", Tez="0.10.2", JupyterEnterpriseGateway="2.6.0"),
    "emr-7.5.0": _release("3.5.2", "3.4.0", "3.1.3", Livy="0.8.0", Tez="0.10.2", JupyterEnterpriseGateway="2.6.0"),
    "emr-7.4.0": _release("3.5.2", "3.4.0", "3.1.3", Livy="0.8.0", Tez="0.10.2", JupyterEnterpriseGateway="2.6.0"),
    "emr-7.3.0": _release("3.5.1", "3.3.6", "3.1.3", Livy="0.8.0", Tez="0.10.2", JupyterEnterpriseGateway="2.6.0"),
    "emr-7.2.0": _release("3.5.1", "3.3.6", "3.1.3", Livy="0.8.0", Tez="0.10.2", JupyterEnterpriseGateway="2.6.0"),
    "emr-7.1.0": _release("3.5.0", "3.3.6", "3.1.3", Livy="0.8.0", Tez="0.10.2", JupyterEnterpriseGateway="2.6.0"),
    "emr-7.0.0": _release("3.5.0", "3.3.6", "3.1.3", Livy="0.7.1", Tez="0.10.2", JupyterEnterpriseGateway="2.6.0"),
    "emr-6.15.0": _release("3.4.1", "3.3.6", "3.1.3", Livy="0.7.1", Tez="0.10.2", JupyterEnterpriseGateway="2.6.0"),
    "emr-6.10.0": _release("3.3.1", "3.3.3", "3.1.3", Livy="0.7.1", Tez="0.10.2", JupyterEnterpriseGateway="2.6.0"),
    "emr-6.9.0": _release("3.3.0", "3.3.3", "3.1.3", Livy="0.7.1", Tez="0.10.2", JupyterEnterpriseGateway="2.6.0"),
    "emr-6.5.0": _release("3.1.2", "3.2.1", "3.1.2", Livy="0.7.1", Tez="0.9.2", JupyterEnterpriseGateway="2.1.0"),
    "emr-6.2.0": _release("3.0.1", "3.2.1", "3.1.2", Livy="0.7.0", Tez="0.9.2", JupyterEnterpriseGateway="2.1.0"),
    "emr-5.36.0": _release("2.4.8", "2.10.1", "2.3.9", Livy="0.7.1", Tez="0.9.2", JupyterEnterpriseGateway="2.1.0"),
    "emr-5.30.0": _release("2.4.5", "2.8.5", "2.3.6", Livy="0.7.0", Tez="0.9.2", Ganglia="3.7.2"),
    "emr-5.29.0": _release("2.4.4", "2.8.5", "2.3.6", Livy="0.6.0", Tez="0.9.2", Ganglia="3.7.2"),
    "emr-5.27.0": _release("2.4.4", "2.8.5", "2.3.5", Livy="0.6.0", Tez="0.9.2", Ganglia="3.7.2"),
    "emr-5.20.0": _release("2.4.0", "2.8.5", "2.3.4", Livy="0.5.0", Tez="0.9.1", Ganglia="3.7.2"),
}
