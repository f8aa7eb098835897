#!/bin/sh
# Builds Tessera's fsck, a checker of C2SP logs that others wrote, for tests; once, outside of
# the repository.
#
#   scripts/servers/tessera.sh          build it unless it is there; says where
#   scripts/servers/tessera.sh --path   only say where; ends with 1 if it is not there
#
# Takes half a minute.
set -eu
. "$(dirname "$0")/go.sh"

VERSIONS="v1.0.4"
build tessera github.com/transparency-dev/tessera/cmd/fsck "$VERSIONS" "${1:-}"
