"""The local EMR on EKS."""
