#!/bin/sh
# Make the databases and their owners where they are missing, and set the owners' passwords to
# those of the environment. Each start runs it again: it changes nothing that is there.
# PGHOST, PGUSER, PGPASSWORD: a superuser. MLFLOW_DB_PASSWORD, OPTUNA_DB_PASSWORD: of the owners.
set -eu
: "${MLFLOW_DB_PASSWORD:?is empty: run sh deploy/passwords.sh}"
: "${OPTUNA_DB_PASSWORD:?is empty: run sh deploy/passwords.sh}"

# psql reads the passwords itself, so that no list of processes and no server log shows them.
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --dbname=postgres <<'SQL'
\getenv mlflow_password MLFLOW_DB_PASSWORD
\getenv optuna_password OPTUNA_DB_PASSWORD
SET client_min_messages = warning;
SET log_statement = none;
SET log_min_error_statement = panic;
SET log_min_duration_statement = -1;
SET password_encryption = 'scram-sha-256';

SELECT format('CREATE ROLE %I LOGIN', wanted)
FROM unnest(ARRAY['mlflow', 'optuna']) AS wanted
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) \gexec
ALTER ROLE mlflow PASSWORD :'mlflow_password';
ALTER ROLE optuna PASSWORD :'optuna_password';

SELECT format('CREATE DATABASE %I OWNER %I', wanted, owner)
FROM (VALUES ('mlflow', 'mlflow'), ('mlflow_auth', 'mlflow'), ('optuna', 'optuna'))
  AS list (wanted, owner)
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = wanted) \gexec
-- Else each owner could enter the other's database.
REVOKE ALL ON DATABASE mlflow, mlflow_auth, optuna FROM PUBLIC;
SQL
