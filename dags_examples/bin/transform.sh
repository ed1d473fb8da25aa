#!/bin/sh
# transform.sh --input s3://BUCKET/PREFIX --output s3://BUCKET/PREFIX
#
# Keeps columns 1 and 3 of every CSV file below the input. It adds the work as a step to the EMR cluster that was created
# for this job (EMR_CLUSTER_ID), and waits for the step.
set -eu

while [ $# -gt 0 ]; do
    case $1 in
    --input) input=$2 ;;
    --output) output=$2 ;;
    *) echo "transform.sh: unknown option $1" >&2; exit 2 ;;
    esac
    shift 2
done
: "${EMR_CLUSTER_ID:?transform.sh needs an EMR cluster: add an emr block to the job}"

# Runs on the master node of the cluster. The quoted part is a separate program with the arguments $1 and $2.
cat >steps.json <<EOF
[{
  "Name": "keep columns 1 and 3",
  "Type": "CUSTOM_JAR",
  "Jar": "command-runner.jar",
  "ActionOnFailure": "CONTINUE",
  "Args": [
    "sh", "-euc",
    "mkdir in out; aws s3 cp --only-show-errors --recursive \"\$1\" in; for f in in/*.csv; do awk -F , '{ print \$1 \",\" \$3 }' \"\$f\" >\"out/\${f#in/}\"; done; aws s3 cp --only-show-errors --recursive out \"\$2\"",
    "step", "$input", "$output"
  ]
}]
EOF
step=$(aws emr add-steps --cluster-id "$EMR_CLUSTER_ID" --steps file://steps.json --query 'StepIds[0]' --output text)
echo "transform.sh: run ${PIPELINE_RUN_ID:-none} added step $step to cluster $EMR_CLUSTER_ID"

while :; do
    state=$(aws emr describe-step --cluster-id "$EMR_CLUSTER_ID" --step-id "$step" \
        --query Step.Status.State --output text)
    case $state in
    COMPLETED) echo "transform.sh: step $step has completed"; exit 0 ;;
    FAILED | CANCELLED | INTERRUPTED) echo "transform.sh: step $step on $EMR_CLUSTER_ID: $state" >&2; exit 1 ;;
    esac
    sleep "${TRANSFORM_POLL_SECONDS:-1}"
done
