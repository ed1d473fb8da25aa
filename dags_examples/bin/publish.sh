#!/bin/sh
# publish.sh --input s3://BUCKET/PREFIX [--output s3://BUCKET/KEY]
#
# Adds up the scores of all files below the input and publishes them as one file, highest score first.
set -eu

while [ $# -gt 0 ]; do
    case $1 in
    --input) input=$2 ;;
    --output) output=$2 ;;
    *) echo "publish.sh: unknown option $1" >&2; exit 2 ;;
    esac
    shift 2
done
output=${output:-${input%/*}/published/${input##*/}.csv}

echo "publish.sh: run ${PIPELINE_RUN_ID:-none} of $input to $output"
aws s3 cp --only-show-errors --recursive "$input" parts
cat parts/*.csv |
    awk -F , '{ score[$1] += $2 } END { for (user in score) print user "," score[user] }' |
    sort -t , -k 2,2nr -k 1,1 >published.csv
aws s3 cp --only-show-errors published.csv "$output"
