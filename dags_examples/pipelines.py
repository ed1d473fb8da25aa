from airflow_batchemr import load_pipelines  # an Airflow Dag file: all pipeline files of this folder

load_pipelines(globals(), __file__)
