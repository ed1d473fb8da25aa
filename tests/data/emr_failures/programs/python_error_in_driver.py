from pyspark.sql import SparkSession


def share(rows, parts):
    return rows / parts


spark = SparkSession.builder.getOrCreate()
count = spark.range(10).count()
print("rows", count)
share(count, 0)
