#!/bin/sh
# Make .env from .env.example where there is none, and fill the passwords that are empty in it with
# random ones. Those of people and of S3 are left to you.
set -eu
cd "$(dirname "$0")/.."
umask 077
[ -e .env ] || cp .env.example .env
chmod 600 .env
for name in POSTGRES_PASSWORD MLFLOW_DB_PASSWORD OPTUNA_DB_PASSWORD MLFLOW_SECRET_KEY; do
  if grep -q "^$name=$" .env; then
    value=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
    # From a file, because a command line shows in the list of processes.
    echo "s/^$name=\$/$name=$value/" | sed -i -f - .env
    echo "$name: filled"
  fi
done
