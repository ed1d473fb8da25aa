"""Default retries of a task, used if neither the user nor Airflow's configuration sets them."""

#: Retries after a failure of the platform, such as a lost worker or triggerer, or an outage of AWS or S3.
PLATFORM_RETRIES = 3
#: Seconds between them: a retry attaches to running work, so it only has to wait for the platform to recover.
PLATFORM_RETRY_DELAY = 30
