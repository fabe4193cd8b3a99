#!/bin/sh
# Bring MLflow's database and Optuna's to the versions of this image. That of the accounts follows
# by itself when the server starts.
set -eu
PGPASSWORD=$MLFLOW_DB_PASSWORD mlflow db upgrade "$1"
PGPASSWORD=$OPTUNA_DB_PASSWORD optuna storage upgrade --storage "$2"
