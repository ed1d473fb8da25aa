"""Runs the examples on this machine: a real Airflow beside the local AWS, for `make demo`, `make up` and the tests."""
