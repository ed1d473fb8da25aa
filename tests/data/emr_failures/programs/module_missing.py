from pyspark.sql import SparkSession

import geo_lookup

spark = SparkSession.builder.getOrCreate()
spark.range(10).foreach(geo_lookup.locate)
