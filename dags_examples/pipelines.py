from airflow_batchemr import load_pipelines  # an Airflow Dag file for all pipeline files in this folder

load_pipelines(globals(), __file__)
