"""Retries that a task gets when neither the user nor Airflow's configuration says how many."""

#: Retries after a failure of the platform, such as a lost worker or triggerer, or an outage of AWS or S3.
PLATFORM_RETRIES = 3
#: Seconds between them: a retry attaches to the work that runs, so it need not wait for anything but the platform.
PLATFORM_RETRY_DELAY = 30
