import urllib.request

from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()


def settings(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read()


spark.sparkContext.broadcast(settings("http://127.0.0.1:9/settings.json"))
