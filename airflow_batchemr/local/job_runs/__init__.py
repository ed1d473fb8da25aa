"""What EMR Serverless and EMR on EKS have in common: job runs, each of which is one Spark driver."""
