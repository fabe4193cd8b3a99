#!/bin/sh
# Put back what backup.sh wrote: restore.sh NAME, a folder of $BACKUPS.
# A backup that is damaged, or does not load, leaves everything as it was.
# PGHOST, PGUSER, PGPASSWORD: a superuser. MLFLOW_DB_PASSWORD, OPTUNA_DB_PASSWORD: as in .env.
set -eu
backups=${BACKUPS:-/backups}
artifacts=${ARTIFACTS:-/artifacts}
if [ $# -ne 1 ] || [ ! -d "$backups/$1" ]; then
  echo "restore: name a backup; there are: $(ls "$backups" | tr '\n' ' ')" >&2
  exit 2
fi
from=$backups/$1
(cd "$from" && sha256sum --check --quiet --strict SHA256SUMS)
sh "$(dirname "$0")/databases.sh"

query() {
  psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --dbname=postgres --command="$1"
}

new=$artifacts/.restore-new
old=$artifacts/.restore-old
rm -rf "$new" "$old"
mkdir "$new" "$old"
tar --extract --gzip --numeric-owner --preserve-permissions --file="$from/artifacts.tar.gz" \
  --directory="$new"

for database in mlflow mlflow_auth optuna; do
  query "DROP DATABASE IF EXISTS ${database}_new WITH (FORCE)"
  query "CREATE DATABASE ${database}_new OWNER ${database%_auth} TEMPLATE template0"
  pg_restore --exit-on-error --single-transaction --dbname="${database}_new" \
    "$from/$database.dump"
done

for database in mlflow mlflow_auth optuna; do
  query "DROP DATABASE $database WITH (FORCE)"
  query "ALTER DATABASE ${database}_new RENAME TO $database"
  query "REVOKE ALL ON DATABASE $database FROM PUBLIC"
done
find "$artifacts" -mindepth 1 -maxdepth 1 ! -name .restore-new ! -name .restore-old \
  -exec mv -t "$old" {} +
find "$new" -mindepth 1 -maxdepth 1 -exec mv -t "$artifacts" {} +
chown --reference="$new" "$artifacts"
rm -rf "$new" "$old"
echo "restored $1"
