#!/bin/sh
# Plays the demo story into the store $1, once. An interrupted one is taken away whole,
# so that no half-told story is ever served.
set -eu
cd "$(dirname "$0")/.."
data=${1:?the folder of the store}

if [ -e "$data" ]; then exit 0; fi
mkdir -p .cache
undo() {
    rm -rf "$data" "$data-demo"
    printf '\nmianjiao: the demo did not finish; its store was removed. Run it again: make run\n' >&2
    exit 1
}
trap undo INT TERM HUP
.venv/bin/mianjiao demo --data "$data" || undo
