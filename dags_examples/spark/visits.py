"""visits.py INPUT OUTPUT: visits and seconds of each page, from CSV files of user, page, seconds to Parquet."""

import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as f

spark = SparkSession.builder.appName("visits").getOrCreate()
visits = spark.read.csv(sys.argv[1], schema="user STRING, page STRING, seconds INT")
pages = visits.groupBy("page").agg(f.count("*").alias("visits"), f.sum("seconds").alias("seconds"))
pages.coalesce(1).write.mode("overwrite").parquet(sys.argv[2])
print(f"visits.py: {pages.count()} pages of {visits.count()} visits")
