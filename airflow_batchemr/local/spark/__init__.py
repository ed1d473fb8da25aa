"""Real Spark on the local EMR: spark-submit, and S3 for Hadoop's file systems."""
