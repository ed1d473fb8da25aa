from pyspark.sql import SparkSession

spark = SparkSession.builder.config("spark.driver.maxResultSize", "1m").getOrCreate()
wide = spark.range(200_000).selectExpr("repeat(cast(id as string), 20) as text")
print(len(wide.collect()))
