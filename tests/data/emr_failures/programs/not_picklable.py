import threading

from pyspark.sql import SparkSession

lock = threading.Lock()
spark = SparkSession.builder.getOrCreate()


def guarded(row):
    with lock:
        return row


print(spark.sparkContext.parallelize(range(3)).map(guarded).collect())
