#!/bin/sh
# Run a command of imbalance-study in a container: wait for the MLflow server, take a GPU, go.
set -eu
if ! python - <<'PY'
import os, sys, time, urllib.request
until = time.monotonic() + float(os.environ.get("WAIT_SECONDS", "120"))
while True:
    try:
        urllib.request.urlopen(os.environ["MLFLOW_TRACKING_URI"] + "/health", timeout=5)
        sys.exit()
    except OSError:
        if time.monotonic() > until:
            sys.exit(1)
        time.sleep(1)
PY
then
  echo "worker: $MLFLOW_TRACKING_URI does not answer; start the server: docker-compose up -d" >&2
  exit 1
fi

# Workers share the cache volume: each holds the first free number there as long as it lives, and
# takes the GPU of that number, round and round.
gpus=$(find "${DEVICES:-/dev}" -maxdepth 1 -name 'nvidia[0-9]*' | wc -l)
if [ "$gpus" -gt 0 ]; then
  number=0
  while :; do
    exec 9>"$IMBALANCE_STUDY_CACHE/.worker-$number"
    if flock --nonblock 9; then break; fi
    number=$((number + 1))
  done
  export CUDA_VISIBLE_DEVICES=$((number % gpus))
fi

# The words of STUDY_OPTIONS are separated by spaces; nothing else in them is interpreted.
if [ "${1:-}" = study ]; then
  set -f
  # shellcheck disable=SC2086
  set -- "$@" ${STUDY_OPTIONS:-}
fi
exec imbalance-study "$@"
