from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
wide = spark.range(4_000_000).selectExpr("repeat(cast(id as string), 60) as text")
print(len(wide.collect()))
