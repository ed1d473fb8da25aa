import sys

from pyspark.sql import SparkSession


def read(spark, path):
    return spark.read.csv(path, header=True)


spark = SparkSession.builder.getOrCreate()
read(spark, sys.argv[1]).show()
