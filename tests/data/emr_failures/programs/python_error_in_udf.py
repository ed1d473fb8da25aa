from pyspark.sql import SparkSession, functions
from pyspark.sql.types import IntegerType


@functions.udf(IntegerType())
def age(born):
    return 2026 - int(born)


spark = SparkSession.builder.getOrCreate()
people = spark.createDataFrame([("ann", "1990"), ("bob", "n/a")], ["name", "born"])
people.select("name", age("born")).show()
