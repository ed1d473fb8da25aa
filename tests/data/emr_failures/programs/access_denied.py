import boto3
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
rows = boto3.client("s3").get_object(Bucket="payroll", Key="2026.csv")["Body"].read()
print(spark.sparkContext.parallelize(rows.splitlines()).count())
