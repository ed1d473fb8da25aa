"""Common parts of EMR Serverless and EMR on EKS: job runs, each of which is one Spark driver."""
