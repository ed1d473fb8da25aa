from pyspark.sql import SparkSession

spark = SparkSession.builder.config("spark.sql.ansi.enabled", "true").getOrCreate()
rows = spark.createDataFrame([("12",), ("twelve",)], ["count"])
rows.selectExpr("cast(count as int)").write.mode("overwrite").format("noop").save()
