#!/bin/sh
# step.sh FOLDER DAG: the program of an EMR step, controlled by the same files as work.sh.
set -eu
cd "$1"
echo "started - $2 $2 0" >>journal
while [ -e "hold.$2.$2.0" ]; do sleep 0.1; done
echo "done - $2 $2 0" >>journal
