#!/bin/bash
echo "loading orders"
load-orders --date 2026-11-20
