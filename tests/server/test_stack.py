"""What docker-compose.yml starts, started outside Docker: the same commands, variables, scripts."""

import base64
import contextlib
import hashlib
import json
import shutil
import urllib.error
import urllib.request

import optuna
import psutil
import psycopg2
import pytest
from mlflow import MlflowClient
from mlflow.server.auth.client import AuthServiceClient

pytestmark = pytest.mark.postgres

TINY = (
    *("train", "--dataset=digits", "--model=resnet20", "--image_size=16", "--epochs=1"),
    *("--steps_per_epoch=4", "--batch_size=32", "--analyses=none"),
)
EXPERIMENTS = "/api/2.0/mlflow/experiments/search"


@pytest.fixture(scope="module")
def server(stack):
    """The server without accounts, and a run that the worker's command trained against it."""
    with stack.running("mlflow"):
        done = stack.run("worker", *TINY)
        assert done.returncode == 0, done.stderr
        client = MlflowClient(stack.address)
        (run,) = client.search_runs(
            [client.get_experiment_by_name("imbalance_study").experiment_id]
        )
        yield run.info.run_id


def status(address, user=None, path=EXPERIMENTS, **headers):
    """The status of a search for experiments, or of another address, with these headers."""
    if user:
        headers["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
    body = json.dumps({"max_results": 1}).encode() if path == EXPERIMENTS else None
    headers["Content-Type"] = "application/json"
    request = urllib.request.Request(address + path, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def everything(stack, run_id, folder):
    """All that is told of a run: its record, and a digest of every artifact, through the server."""
    client = MlflowClient(stack.address)
    record = client.get_run(run_id).to_dictionary()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    client.download_artifacts(run_id, "", str(folder))
    files = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return record, files


def test_a_run_of_the_worker_reads_back_with_metrics_and_artifacts(stack, server, tmp_path):
    record, files = everything(stack, server, tmp_path / "all")
    metrics = record["data"]["metrics"]
    assert record["info"]["status"] == "FINISHED"
    assert 0 < metrics["test/balanced_accuracy"] <= 1
    assert record["info"]["artifact_uri"].startswith("mlflow-artifacts:/")
    stored = json.loads((tmp_path / "all" / "metrics.json").read_text())
    assert stored["test/balanced_accuracy"] == pytest.approx(metrics["test/balanced_accuracy"])
    assert {"config.json", "metrics.json"} <= files.keys()
    assert any(name.startswith("checkpoints/") for name in files)
    in_volume = {path.name for path in stack.artifacts.rglob("*") if path.is_file()}
    assert {name.rpartition("/")[2] for name in files} <= in_volume


def test_hosts_that_are_named_are_answered_and_others_refused(stack, server):
    port = stack.port
    hosts = ("mlflow:5000", f"localhost:{port}", "gpu.example.org", f"gpu.example.org:{port}")
    assert [status(stack.address, Host=host) for host in hosts] == [200] * len(hosts)
    foreign = ("evil.example.org", f"evil.example.org:{port}", "mlflow:1", "localhost", "10.0.0.1")
    assert [status(stack.address, Host=host) for host in foreign] == [403] * len(foreign)


def test_pages_that_are_named_may_write_and_others_not(stack, server):
    origins = (f"http://gpu.example.org:{stack.port}", "https://gpu.example.org")
    assert [status(stack.address, Origin=origin) for origin in origins] == [200, 200]
    assert status(stack.address, Origin="http://evil.example.org") == 403


def test_databases_can_be_made_again_and_passwords_changed(stack, server):
    done = stack.run("databases")
    assert (done.returncode, done.stderr) == (0, "")
    done = stack.run("databases", MLFLOW_DB_PASSWORD='it\'s "another" one')
    assert (done.returncode, done.stderr) == (0, "")
    place = {"host": "127.0.0.1", "port": stack.database.rpartition(":")[2].partition("/")[0]}
    with pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(dbname="mlflow", user="mlflow", password="guess", **place)
    with contextlib.closing(
        psycopg2.connect(dbname="mlflow", user="mlflow", password='it\'s "another" one', **place)
    ):
        pass
    assert stack.run("databases").returncode == 0
    word = stack.settings["OPTUNA_DB_PASSWORD"]
    with pytest.raises(psycopg2.OperationalError, match="permission denied"):
        psycopg2.connect(dbname="mlflow", user="optuna", password=word, **place)


def test_the_dashboard_shows_a_study_of_the_workers_storage(stack, server, monkeypatch):
    (storage,) = (word for word in stack.words("worker") if word.startswith("--storage="))
    monkeypatch.setenv("PGPASSWORD", stack.environment("worker")["PGPASSWORD"])
    study = optuna.create_study(storage=storage.partition("=")[2], study_name="on the server")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    with stack.running("dashboard"):
        address = f"http://127.0.0.1:{stack.dashboard_port}/api/studies"
        with urllib.request.urlopen(address, timeout=10) as answer:
            studies = json.load(answer)["study_summaries"]
    assert "on the server" in {summary["study_name"] for summary in studies}


def drop_everything(stack):
    with contextlib.closing(
        psycopg2.connect(stack.database.replace("+psycopg2", ""))
    ) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for name in ("mlflow", "mlflow_auth", "optuna"):
                cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
            cursor.execute("ALTER ROLE mlflow PASSWORD 'of a new machine'")
    shutil.rmtree(stack.artifacts)
    stack.artifacts.mkdir()


def test_what_was_backed_up_dropped_and_restored_reads_the_same(stack, server, tmp_path):
    before = everything(stack, server, tmp_path / "all")
    done = stack.run("backup")
    assert done.returncode == 0, done.stderr
    name = done.stdout.strip()
    assert [path.name for path in stack.backups.iterdir()] == [name]
    assert (stack.backups / name).stat().st_mode & 0o077 == 0
    drop_everything(stack)
    assert status(stack.address) == 500
    done = stack.run("restore", name)
    assert done.returncode == 0, done.stderr
    assert everything(stack, server, tmp_path / "all") == before
    assert [path.name for path in stack.artifacts.iterdir() if path.name.startswith(".")] == []


def test_a_damaged_backup_changes_nothing(stack, server, tmp_path):
    before = everything(stack, server, tmp_path / "all")
    name = stack.run("backup").stdout.strip()
    with (stack.backups / name / "mlflow.dump").open("r+b") as file:
        file.seek(2000)
        file.write(b"damage")
    done = stack.run("restore", name)
    assert done.returncode != 0
    assert "mlflow.dump: FAILED" in done.stdout
    (stack.backups / name / "SHA256SUMS").unlink()
    assert stack.run("restore", name).returncode != 0
    done = stack.run("restore", "yesterday")
    assert done.returncode == 2
    assert name in done.stderr
    assert everything(stack, server, tmp_path / "all") == before


def test_garbage_collection_removes_a_deleted_run_and_its_files_alone(stack, server, tmp_path):
    before = everything(stack, server, tmp_path / "all")
    client = MlflowClient(stack.address)
    run = client.create_run(client.get_run(server).info.experiment_id)
    client.log_text(run.info.run_id, "rubbish", "rubbish.txt")
    client.delete_run(run.info.run_id)
    done = stack.run("gc")
    assert done.returncode == 0, done.stderr
    assert list(stack.artifacts.rglob("rubbish.txt"))  # deleted a moment ago, not 30 days
    done = stack.run("gc", "--older-than=0s")
    assert done.returncode == 0, done.stderr
    assert not list(stack.artifacts.rglob("rubbish.txt"))
    assert status(stack.address, path=f"/api/2.0/mlflow/runs/get?run_id={run.info.run_id}") == 404
    assert everything(stack, server, tmp_path / "all") == before


def test_an_upgrade_of_databases_that_are_new_leaves_them(stack, server, tmp_path):
    before = everything(stack, server, tmp_path / "all")
    done = stack.run("upgrade")
    assert done.returncode == 0, done.stderr
    assert everything(stack, server, tmp_path / "all") == before


def test_a_server_with_accounts_does_not_start_without_a_password(stack):
    done = stack.run("mlflow-auth", MLFLOW_AUTH_ADMIN_PASSWORD="", timeout=20)
    assert done.returncode != 0
    assert done.stderr.rstrip().endswith("is empty: set MLFLOW_ADMIN_PASSWORD in .env")
    done = stack.run("mlflow-s3", timeout=20)
    assert done.returncode != 0
    assert done.stderr.rstrip().endswith("is empty: set S3_DESTINATION in .env")


def test_a_server_with_accounts_answers_those_who_have_one(stack, monkeypatch, tmp_path):
    admin = stack.settings["MLFLOW_ADMIN_PASSWORD"]
    with stack.running("mlflow-auth") as process:
        asked = [None, "admin:guess", "nobody:guess", f"admin:{admin}"]
        assert [status(stack.address, user) for user in asked] == [401, 401, 401, 200]
        assert status(stack.address, f"admin:{admin}", Host="evil.example.org") == 403
        done = stack.run("worker", *TINY)
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", admin)
        colleague = "colleague-secret-6"
        AuthServiceClient(stack.address).create_user("colleague", colleague)
        account = {"MLFLOW_TRACKING_USERNAME": "colleague", "MLFLOW_TRACKING_PASSWORD": colleague}
        done = stack.run("worker", *TINY, "--experiment=accounts", **account)
        assert done.returncode == 0, done.stderr
        words = [word for one in family(process) for word in one.cmdline()]
        client = MlflowClient(stack.address)
        (run,) = client.search_runs([client.get_experiment_by_name("accounts").experiment_id])
        record, files = everything(stack, run.info.run_id, tmp_path / "all")
    assert record["info"]["status"] == "FINISHED"
    assert any(name.startswith("checkpoints/") for name in files)
    told = [json.dumps(record), *words, *stack.words("worker"), done.stdout, done.stderr]
    told += [stack.log("mlflow"), stack.log("mlflow-auth")]
    told += [(tmp_path / "all" / name).read_bytes().decode("latin-1") for name in files]
    secrets = {value for name, value in stack.settings.items() if name.endswith(("WORD", "KEY"))}
    secrets |= {colleague, base64.b64encode(f"colleague:{colleague}".encode()).decode()}
    assert [secret for secret in secrets if any(secret in text for text in told)] == []


def family(process):
    parent = psutil.Process(process.pid)
    return [parent, *parent.children(recursive=True)]
