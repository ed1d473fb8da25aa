from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()


def yesterday():
    return spark.table("sales.daily").where("day = current_date() - 1")


yesterday().count()
