"""AWS Batch with jobs that run as local processes."""
