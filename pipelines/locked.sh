#!/bin/bash
# locked.sh FOLDER COMMAND...: runs COMMAND while no other make works in FOLDER.
# Descendants hold the lock with it: what outlives a killed make is waited for.
set -eu
mkdir -p "$1"
exec 8>"$1/.lock"
flock -n 8 || { echo "waiting for another make in $1" >&2; flock 8; }
shift
exec "$@"
