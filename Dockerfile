# Two images. `server`: MLflow and optuna-dashboard. `worker`: the program itself, with torch.
# Neither holds a password; both run as a user without rights.
FROM python:3.11-slim AS base
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    GIT_PYTHON_REFRESH=quiet
RUN groupadd --gid 10001 study && useradd --uid 10001 --gid 10001 --create-home study
# The versions that conda.yaml pins hold here too.
COPY conda.yaml /tmp/
RUN sed -n 's/^ *- \([A-Za-z0-9_.-]*==[A-Za-z0-9_.]*\) *$/\1/p' /tmp/conda.yaml >/etc/versions.txt

FROM base AS server
RUN pip install --constraint /etc/versions.txt \
    "mlflow[auth]==3.17.2" psycopg2-binary==2.9.13 boto3==1.44.5 optuna-dashboard==0.21.0
COPY deploy/basic_auth.ini /etc/mlflow/
COPY deploy/server.sh deploy/upgrade.sh deploy/dashboard.py /usr/local/bin/
# A volume takes its owner from the folder that it is first mounted on.
RUN mkdir /artifacts && chown study:study /artifacts
USER study
WORKDIR /home/study
EXPOSE 5000 8080

FROM base AS worker
RUN pip install --requirement /etc/versions.txt psycopg2-binary==2.9.13
COPY pyproject.toml README.md LICENSE /src/
COPY imbalance_study /src/imbalance_study
RUN pip install --no-deps /src && rm -r /src
COPY deploy/worker.sh /usr/local/bin/
# data_dir is ./data unless told otherwise: the volume.
RUN mkdir /data /cache && chown study:study /data /cache && ln -s /data /home/study/data
USER study
WORKDIR /home/study
ENTRYPOINT ["sh", "/usr/local/bin/worker.sh"]
CMD ["--help"]
