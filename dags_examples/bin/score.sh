#!/bin/sh
# score.sh --input s3://BUCKET/PREFIX --output s3://BUCKET/PREFIX
#
# One index of the driver's array job: a user's score is the sum of the seconds in the file with the number of the index.
set -eu

while [ $# -gt 0 ]; do
    case $1 in
    --input) input=$2 ;;
    --output) output=$2 ;;
    *) echo "score.sh: unknown option $1" >&2; exit 2 ;;
    esac
    shift 2
done

index=${AWS_BATCH_JOB_ARRAY_INDEX:-0}
echo "score.sh: run ${PIPELINE_RUN_ID:-none} index $index of $input"

aws s3 cp --only-show-errors "$input/$index.csv" in.csv
awk -F , '{ score[$1] += $2 } END { for (user in score) print user "," score[user] }' in.csv | sort >scores.csv
aws s3 cp --only-show-errors scores.csv "$output/$index.csv"
