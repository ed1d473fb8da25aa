from pyspark.sql import SparkSession

PRICES = {"apple": 3, "pear": 4}


def price(line):
    name, count = line.split(",")
    return PRICES[name] * int(count)


spark = SparkSession.builder.getOrCreate()
orders = spark.sparkContext.parallelize(["apple,2", "plum,1", "pear,5"])
print(orders.map(price).sum())
