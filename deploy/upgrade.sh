#!/bin/sh
# Bring the databases (MLflow's, its accounts', Optuna's) to the versions of this image.
set -eu
PGPASSWORD=$MLFLOW_DB_PASSWORD mlflow db upgrade "$1"
PGPASSWORD=$MLFLOW_DB_PASSWORD python -m mlflow.server.auth db upgrade --url "$2"
PGPASSWORD=$OPTUNA_DB_PASSWORD optuna storage upgrade --storage "$3"
