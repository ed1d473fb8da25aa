from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
total = spark.range(10).agg({"id": "sum")
total.show()
