import os
import signal

from pyspark.sql import SparkSession


def die(number):
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory runs out
    return number


spark = SparkSession.builder.getOrCreate()
print(spark.sparkContext.parallelize(range(10), 2).map(die).sum())
