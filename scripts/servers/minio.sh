#!/bin/sh
# Builds the real MinIO server for tests, once, outside of the repository.
#
#   scripts/servers/minio.sh          build it unless it is there; says where
#   scripts/servers/minio.sh --path   only say where; ends with 1 if it is not there
#
# MinIO's community edition is source-only and untagged: the versions are exact
# commits. Takes 3 to 10 minutes and 2 GB of Go's caches.
set -eu
. "$(dirname "$0")/go.sh"

VERSIONS="v0.0.0-20251015172955-9e49d5e7a648 v0.0.0-20250422221226-0d7408fc9969"
build minio github.com/minio/minio "$VERSIONS" "${1:-}"
