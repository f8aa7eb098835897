#!/bin/sh
# Makes the secrets that docker-compose.yml names, each in a file of its own.
# Existing ones stay as they are: a store cannot be read with another password.
#   scripts/secrets.sh DIR
set -eu
[ $# -eq 1 ] || { echo "usage: scripts/secrets.sh DIR" >&2; exit 2; }
umask 077
mkdir -p "$1"

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
make() {
    [ -e "$1" ] || printf '%s' "$2" >"$1"
}

make "$1/postgres_password" "$(random)"
make "$1/s3_access_key" mianjiao
make "$1/s3_secret_key" "$(random)"
make "$1/metrics_token" "$(random)"
make "$1/database_url" "postgresql://mianjiao:$(cat "$1/postgres_password")@postgres:5432/mianjiao"
# Containers read them as users of their own.
chmod 0755 "$1"
chmod 0444 "$1"/*
echo "mianjiao: secrets in $1/ (keep them out of backups of the store, and safe)"
