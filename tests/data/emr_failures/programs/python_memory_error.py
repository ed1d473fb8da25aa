import resource

from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
resource.setrlimit(resource.RLIMIT_AS, (3 * 1024**3, 3 * 1024**3))
rows = [row.id for row in spark.range(1000).collect()]
matrix = [bytearray(64 * 1024**2) for _ in rows]
print(len(matrix))
