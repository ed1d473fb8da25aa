"""The local EMR Serverless."""
