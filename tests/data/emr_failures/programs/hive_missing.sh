#!/bin/bash
set -e
hive-script --run-hive-script --args -f s3://payroll/queries/daily.sql
