from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
spark.range(10).createOrReplaceTempView("numbers")
spark.sql("SELECT id FORM numbers WHERE id > 3").show()
