from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
orders = spark.createDataFrame([(1, 5.0), (1, 6.0)], ["id", "amount"])


def check(frame):
    doubled = frame.groupBy("id").count().where("count > 1").count()
    assert doubled == 0, f"{doubled} ids are there twice"


check(orders)
