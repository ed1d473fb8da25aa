#!/bin/sh
# work.sh FOLDER: what the end-to-end tests' jobs run. The test steers it, and sees what ran, by files in FOLDER:
#   journal                     gets a line when an index starts, and one when it is done
#   hold.DAG.JOB.INDEX          while it is there, the index waits
#   break.DAG.JOB.INDEX         if it is there, the index fails
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
