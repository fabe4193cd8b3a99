"""What docker-compose.yml starts, started outside Docker: the same commands, variables, scripts."""

import contextlib
import json
import shutil
import urllib.error
import urllib.request

import psycopg2
import pytest
from mlflow import MlflowClient

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def server(stack):
    """The server without accounts, and the winner of a study that the worker ran against it."""
    with stack.running("mlflow"):
        done = stack.run("worker")
        assert done.returncode == 0, done.stderr
        runs = stack.runs_of("Default")
        assert {run.info.status for run in runs} == {"FINISHED"}
        shown = [run for run in runs if "test/accuracy" in run.data.metrics]
        (winner,) = [run for run in shown if "mlflow.parentRunId" in run.data.tags]
        yield winner.info.run_id


def test_a_run_of_the_worker_reads_back_with_metrics_and_artifacts(stack, server, tmp_path):
    record, files = stack.everything(server, tmp_path / "all")
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
    assert [stack.status(Host=host) for host in hosts] == [200] * len(hosts)
    foreign = ("evil.example.org", f"evil.example.org:{port}", "mlflow:1", "localhost", "10.0.0.1")
    assert [stack.status(Host=host) for host in foreign] == [403] * len(foreign)


def test_pages_that_are_named_may_write_and_others_not(stack, server):
    origins = (f"http://gpu.example.org:{stack.port}", "https://gpu.example.org")
    assert [stack.status(Origin=origin) for origin in origins] == [200, 200]
    assert stack.status(Origin="http://evil.example.org") == 403


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


def test_the_dashboard_shows_the_study_of_the_worker(stack, server):
    with stack.running("dashboard"):
        address = f"http://127.0.0.1:{stack.dashboard_port}/api/studies"
        with urllib.request.urlopen(address, timeout=10) as answer:
            studies = json.load(answer)["study_summaries"]
        foreign = urllib.request.Request(address, headers={"Host": "evil.example.org"})
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(foreign, timeout=10)
    assert [summary["study_name"] for summary in studies] == ["tails"]


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
    before = stack.everything(server, tmp_path / "all")
    done = stack.run("backup")
    assert done.returncode == 0, done.stderr
    name = done.stdout.strip()
    assert [path.name for path in stack.backups.iterdir()] == [name]
    assert (stack.backups / name).stat().st_mode & 0o077 == 0
    drop_everything(stack)
    assert stack.status() >= 500
    done = stack.run("restore", name)
    assert done.returncode == 0, done.stderr
    assert stack.everything(server, tmp_path / "all") == before
    assert [path.name for path in stack.artifacts.iterdir() if path.name.startswith(".")] == []


def test_a_damaged_backup_changes_nothing(stack, server, tmp_path):
    before = stack.everything(server, tmp_path / "all")
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
    assert stack.everything(server, tmp_path / "all") == before


def test_garbage_collection_removes_a_deleted_run_and_its_files_alone(stack, server, tmp_path):
    before = stack.everything(server, tmp_path / "all")
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
    assert stack.status(path=f"/api/2.0/mlflow/runs/get?run_id={run.info.run_id}") == 404
    assert stack.everything(server, tmp_path / "all") == before


def test_an_upgrade_of_databases_that_are_new_leaves_them(stack, server, tmp_path):
    before = stack.everything(server, tmp_path / "all")
    done = stack.run("upgrade")
    assert done.returncode == 0, done.stderr
    assert stack.everything(server, tmp_path / "all") == before
