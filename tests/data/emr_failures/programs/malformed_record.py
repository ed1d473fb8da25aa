import sys

from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
with open(f"{sys.argv[1]}/in.json", "w") as file:
    file.write('{"id": 1}\n{"id": \n')
rows = spark.read.schema("id INT").option("mode", "FAILFAST").json(f"{sys.argv[1]}/in.json")
print(rows.collect())
