#!/bin/sh
# work.sh FOLDER: the program of the jobs in the end-to-end tests, which control it with files in FOLDER:
#   journal                     receives a line when an index starts, and one when it is done
#   hold.DAG.JOB.INDEX          while it exists, the index waits
#   break.DAG.JOB.INDEX         if it exists, the index fails
set -eu
cd "$1"
index=${AWS_BATCH_JOB_ARRAY_INDEX:-0}
name=$BATCHEMR_DAG_ID.$BATCHEMR_JOB.$index
echo "started $PIPELINE_RUN_ID $BATCHEMR_DAG_ID $BATCHEMR_JOB $index" >>journal
while [ -e "hold.$name" ]; do sleep 0.1; done
if [ -e "break.$name" ]; then
    echo "work.sh: cannot read shard $index: it is broken" >&2
    exit 65
fi
echo "done $PIPELINE_RUN_ID $BATCHEMR_DAG_ID $BATCHEMR_JOB $index" >>journal
