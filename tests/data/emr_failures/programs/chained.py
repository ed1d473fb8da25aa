import json

from pyspark.sql import SparkSession


class ConfigError(Exception):
    pass


def load(text):
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigError("settings cannot be read") from error


spark = SparkSession.builder.getOrCreate()
settings = load("{'shops': 3}")
print(spark.range(settings["shops"]).count())
