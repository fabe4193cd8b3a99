#!/bin/sh
# Make .env from .env.example where there is none, and fill the passwords that are empty in it with
# random ones. Those of people and of S3 are left to you. It ends with an error unless every password
# is set afterwards.
set -eu
cd "$(dirname "$0")/.."
umask 077
[ -e .env ] || cp .env.example .env
chmod 600 .env
names="POSTGRES_PASSWORD MLFLOW_DB_PASSWORD OPTUNA_DB_PASSWORD MLFLOW_SECRET_KEY"
changed="$(mktemp ./.env.XXXXXX)"
trap 'rm -f "$changed"' EXIT
# Ends of line of Windows, and blanks behind a value, would become a part of it.
tr -d '\r' <.env | sed 's/[[:blank:]]*$//' >"$changed"
for name in $names; do
  [ -z "$(tail -c 1 "$changed")" ] || echo >>"$changed"
  grep -q "^$name=" "$changed" || echo "$name=" >>"$changed"
  if grep -q "^$name=$" "$changed"; then
    value=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
    # From a file, because a command line shows in the list of processes.
    echo "s/^$name=\$/$name=$value/" | sed -i -f - "$changed"
    echo "$name: filled"
  fi
done
cat "$changed" >.env # into the file itself, which may be a link
for name in $names; do
  if ! grep -q "^$name=[^[:blank:]]" .env; then
    echo "$name is still empty in .env; set it there by hand" >&2
    exit 1
  fi
done
