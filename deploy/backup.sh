#!/bin/sh
# Write the databases and the artifacts into a new folder of $BACKUPS, named by the time.
# PGHOST, PGUSER, PGPASSWORD: a superuser. It may run while runs are being recorded.
set -eu
umask 077
backups=${BACKUPS:-/backups}
artifacts=${ARTIFACTS:-/artifacts}
name=$(date -u +%Y-%m-%dT%H-%M-%SZ)
work=$backups/.$name.partial
mkdir "$work"
trap 'rm -rf "$work"' EXIT

# The databases first: every file that they name is then still there when the files are read.
for database in mlflow mlflow_auth optuna; do
  pg_dump --format=custom --file="$work/$database.dump" --dbname="$database"
done
status=0
tar --create --gzip --numeric-owner --file="$work/artifacts.tar.gz" --directory="$artifacts" . ||
  status=$?
# 1 is a file that changed while it was read: an upload that the databases do not name yet.
[ "$status" -le 1 ] || exit "$status"
(cd "$work" && sha256sum -- *.dump artifacts.tar.gz >SHA256SUMS)
sync
mv "$work" "$backups/$name"
echo "$name"
