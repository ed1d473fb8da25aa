#!/bin/bash
set -eux
python3 -m pip install --no-index "nonexistent-forecast-lib==4.2.0"
