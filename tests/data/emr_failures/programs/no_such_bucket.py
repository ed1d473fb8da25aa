import boto3
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
total = spark.range(10).count()
boto3.client("s3").put_object(Bucket="reports-that-nobody-made", Key="total.txt", Body=str(total).encode())
