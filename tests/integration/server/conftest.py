"""The services of docker-compose.yml, started outside Docker with their own words and variables."""

import base64
import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest
import yaml
from mlflow import MlflowClient
from servers import free_port

ROOT = Path(__file__).parents[3]
_EXPERIMENTS = "/api/2.0/mlflow/experiments/search"
PASSWORDS = {
    "POSTGRES_PASSWORD": "super-secret-1",
    "MLFLOW_DB_PASSWORD": "mlflow's %40 secret-2",
    "OPTUNA_DB_PASSWORD": "optuna-secret-3",
    "MLFLOW_ADMIN_PASSWORD": "admin secret: 4%",
    "MLFLOW_SECRET_KEY": "key-secret-5",
}


def run_compose(words, settings, folder):
    """Run Debian's docker-compose on the project with an .env of these settings."""
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("no docker-compose: apt-get install docker-compose")
    file = Path(folder, "compose.env")
    file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    words = [program, "--project-directory", str(ROOT), "--env-file", str(file), *words]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    return subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def compose(tmp_path):
    """docker-compose with words and settings -> the finished process."""
    return lambda words, settings: run_compose(words, settings, tmp_path)


class Stack:
    """The services, with the addresses and folders of containers replaced by those of here."""

    tiny = (
        *("--dataset=digits", "--model=resnet20", "--image_size=16", "--epochs=1"),
        *("--steps_per_epoch=4", "--batch_size=32", "--analyses=none"),
    )

    def __init__(self, folder, database, **settings):
        self.folder = Path(folder)
        self.port = free_port()
        self.dashboard_port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.database = database  # of a superuser
        self.artifacts = self.folder / "artifacts"
        self.backups = self.folder / "backups"
        for name in (self.artifacts, self.backups, self.folder / "cache", self.folder / "home"):
            name.mkdir()
        self.settings = PASSWORDS | {
            "MLFLOW_PORT": str(self.port),
            "DASHBOARD_PORT": str(self.dashboard_port),
            "MLFLOW_WORKERS": "1",
            "PUBLIC_HOST": "gpu.example.org",
            "STUDY": "tails",
            "STUDY_OPTIONS": " ".join([*self.tiny, "--search=loss --trials=1 --winner_seeds=1"]),
        }
        self.settings |= settings
        done = run_compose(["config"], self.settings, folder)
        assert done.returncode == 0, done.stderr
        self.services = yaml.safe_load(done.stdout)["services"]
        ini = (ROOT / "deploy" / "basic_auth.ini").read_text()
        (self.folder / "basic_auth.ini").write_text(self.here(ini))

    def here(self, text):
        """A word or a variable of the compose file, as it must be outside Docker."""
        places = {
            "@postgres:5432": f"@127.0.0.1:{urlsplit(self.database).port}",
            "--host=0.0.0.0": "--host=127.0.0.1",
            "--port=5000": f"--port={self.port}",
            "--port=8080": f"--port={self.dashboard_port}",
            "http://mlflow:5000": self.address,
            "/usr/local/bin/": f"{ROOT}/deploy/",
            "/deploy/": f"{ROOT}/deploy/",
            "/etc/mlflow/": f"{self.folder}/",
            "/artifacts": str(self.artifacts),
            "/cache": str(self.folder / "cache"),
            "$$": "$",
        }
        return re.sub("|".join(map(re.escape, places)), lambda found: places[found[0]], text)

    def environment(self, service):
        """The variables of a service and none of ours, but what a container has by itself."""
        superuser = urlsplit(self.database)
        programs = [Path(sys.executable).parent, *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
        given = {
            "PATH": os.pathsep.join([*map(str, programs), os.environ["PATH"]]),
            "HOME": str(self.folder / "home"),
            "OMP_NUM_THREADS": "1",
            "ARTIFACTS": str(self.artifacts),
            "BACKUPS": str(self.backups),
            "DEVICES": str(self.folder / "home"),
            "PYTHONPATH": str(ROOT),
        }
        named = self.services[service].get("environment", {})
        given |= {name: self.here(str(value)) for name, value in named.items()}
        if "PGHOST" in given:
            given |= {"PGHOST": "127.0.0.1", "PGPORT": str(superuser.port)}
            given |= {"PGUSER": superuser.username}
        return given

    def words(self, service, *arguments):
        """The command line of a service; arguments take the place of its command."""
        found = self.services[service]
        words = [*found.get("entrypoint", []), *(arguments or found.get("command", []))]
        return [self.here(word) for word in words]

    def run(self, service, *arguments, timeout=120, **environment):
        """As `docker-compose run --rm`: the finished process."""
        return subprocess.run(
            self.words(service, *arguments),
            cwd=self.folder / "home",
            env=self.environment(service) | environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def log(self, service):
        return (self.folder / f"{service}.log").read_text()

    @contextlib.contextmanager
    def running(self, service):
        """A service, from its health on until the context ends."""
        with (self.folder / f"{service}.log").open("a") as log:
            process = subprocess.Popen(
                self.words(service),
                cwd=self.folder / "home",
                env=self.environment(service),
                stdout=log,
                stderr=log,
            )
        try:
            self._wait(service, process)
            yield process
        finally:
            process.terminate()
            process.wait(30)

    def _wait(self, service, process):
        """Wait for the address of the service's own health check."""
        check = " ".join(self.services[service]["healthcheck"]["test"])
        address = re.search(r"http://127.0.0.1:\d+(/\w+)", check)
        port = self.dashboard_port if service == "dashboard" else self.port
        until = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{address[1]}", timeout=4):
                    return
            except OSError:
                assert process.poll() is None, self.log(service)
                assert time.monotonic() < until, f"{service} did not start: {self.log(service)}"
                time.sleep(0.2)

    def status(self, user=None, path=_EXPERIMENTS, **headers):
        """The status of a search for experiments, or of another address, with these headers."""
        if user:
            headers["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
        body = json.dumps({"max_results": 1}).encode() if path == _EXPERIMENTS else None
        headers["Content-Type"] = "application/json"
        request = urllib.request.Request(self.address + path, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    def runs_of(self, experiment):
        client = MlflowClient(self.address)
        return client.search_runs([client.get_experiment_by_name(experiment).experiment_id])

    def everything(self, run_id, folder):
        """All that the server tells of a run: its record, and a digest of every artifact."""
        client = MlflowClient(self.address)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        client.download_artifacts(run_id, "", str(folder))
        files = {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        return client.get_run(run_id).to_dictionary(), files


@pytest.fixture(scope="module")
def stack(postgres, tmp_path_factory):
    """The services on a PostgreSQL that asks the two owners for their passwords."""
    with contextlib.closing(psycopg2.connect(postgres.replace("+psycopg2", ""))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SHOW hba_file")
            rules = Path(cursor.fetchone()[0])
            before = rules.read_text()
            rules.write_text(f"host all mlflow,optuna 127.0.0.1/32 scram-sha-256\n{before}")
            cursor.execute("SELECT pg_reload_conf()")
            found = Stack(tmp_path_factory.mktemp("stack"), postgres)
            done = found.run("databases")
            assert done.returncode == 0, done.stderr
            yield found
            rules.write_text(before)
            cursor.execute("SELECT pg_reload_conf()")
            for name in ("mlflow", "mlflow_auth", "optuna"):
                cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            cursor.execute("DROP ROLE mlflow, optuna")
