#!/bin/sh
# Start the server that the words name; refuse where a setting is missing that nothing can replace.
set -eu
: "${MLFLOW_ARTIFACTS_DESTINATION:?is empty: set S3_DESTINATION in .env}"
case " $* " in
  *" --app-name=basic-auth "*)
    : "${MLFLOW_AUTH_ADMIN_PASSWORD:?is empty: set MLFLOW_ADMIN_PASSWORD in .env}"
    : "${MLFLOW_FLASK_SERVER_SECRET_KEY:?is empty: run sh deploy/passwords.sh}"
    if printf %s "$MLFLOW_AUTH_ADMIN_PASSWORD" | LC_ALL=C grep -q '[^ -~]'; then
      # MLflow's routes for artifacts refuse every other password, its other routes do not.
      echo "MLFLOW_ADMIN_PASSWORD in .env must consist of ASCII characters" >&2
      exit 1
    fi
    ;;
esac
# boto3 takes an empty address for an address.
[ -n "${MLFLOW_S3_ENDPOINT_URL:-}" ] || unset MLFLOW_S3_ENDPOINT_URL
exec "$@"
