#!/bin/sh
# clean.sh --input s3://BUCKET/PREFIX --output s3://BUCKET/PREFIX
#
# The program of the article. Each index of the array job reads the file with its number, keeps columns 1 and 3, and
# writes a file with the same number. A line whose third column is missing or not a number is an error.
set -eu

while [ $# -gt 0 ]; do
    case $1 in
    --input) input=$2 ;;
    --output) output=$2 ;;
    *) echo "clean.sh: unknown option $1" >&2; exit 2 ;;
    esac
    shift 2
done

index=${AWS_BATCH_JOB_ARRAY_INDEX:-0}
echo "clean.sh: run ${PIPELINE_RUN_ID:-none} index $index of $input"

aws s3 cp --only-show-errors "$input/$index.csv" in.csv
awk -F , -v file="$input/$index.csv" '
    NF < 3 || $3 !~ /^[0-9]+$/ {
        printf "clean.sh: %s line %d: expected user,page,seconds but found: %s\n", file, NR, $0 > "/dev/stderr"
        exit 65
    }
    { print $1 "," $3 }
' in.csv >out.csv
aws s3 cp --only-show-errors out.csv "$output/$index.csv"
