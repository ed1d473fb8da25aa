from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
sales = spark.createDataFrame([("a", 1.0)], ["shop", "amount"])
sales.groupBy("store").sum("amount").show()
