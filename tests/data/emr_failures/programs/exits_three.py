import sys

from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
if spark.range(10).count() < 100:
    print("too few rows: 10 of at least 100", file=sys.stderr)
    sys.exit(3)
