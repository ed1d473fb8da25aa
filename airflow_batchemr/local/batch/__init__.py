"""AWS Batch, with jobs that run as processes of this machine."""
