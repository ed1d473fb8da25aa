"""Runs the examples with a real Airflow and the local AWS, for `make demo`, `make up` and the end-to-end tests."""
