#!/bin/bash
set -eu
echo "installing"
yumm install -y git
