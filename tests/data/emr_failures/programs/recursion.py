from pyspark.sql import SparkSession


def depth(node):
    return 1 + depth(node)


spark = SparkSession.builder.getOrCreate()
print(spark.sparkContext.parallelize([1, 2]).map(depth).collect())
