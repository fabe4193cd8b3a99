"""The server with accounts, started outside Docker with the compose file's words and variables."""

import base64
import json

import psutil
import pytest
from mlflow.server.auth.client import AuthServiceClient

pytestmark = pytest.mark.postgres


def test_a_server_with_accounts_does_not_start_without_a_password(stack):
    done = stack.run("mlflow-auth", MLFLOW_AUTH_ADMIN_PASSWORD="", timeout=20)
    assert done.returncode != 0
    assert done.stderr.rstrip().endswith("is empty: set MLFLOW_ADMIN_PASSWORD in .env")
    done = stack.run("mlflow-auth", MLFLOW_AUTH_ADMIN_PASSWORD="geheimnisträger", timeout=20)
    assert done.returncode != 0
    assert done.stderr == "MLFLOW_ADMIN_PASSWORD in .env must consist of ASCII characters\n"
    done = stack.run("mlflow-s3", timeout=20)
    assert done.returncode != 0
    assert done.stderr.rstrip().endswith("is empty: set S3_DESTINATION in .env")


def test_a_server_with_accounts_answers_those_who_have_one(stack, monkeypatch, tmp_path):
    admin = stack.settings["MLFLOW_ADMIN_PASSWORD"]
    with stack.running("mlflow-auth") as process:
        asked = [None, "admin:guess", "nobody:guess", f"admin:{admin}"]
        assert [stack.status(user) for user in asked] == [401, 401, 401, 200]
        assert stack.status(f"admin:{admin}", Host="evil.example.org") == 403
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", admin)
        colleague = "colleague-secret-6"
        AuthServiceClient(stack.address).create_user("colleague", colleague)
        account = {"MLFLOW_TRACKING_USERNAME": "colleague", "MLFLOW_TRACKING_PASSWORD": colleague}
        done = stack.run("worker", "train", *stack.tiny, **account)
        assert done.returncode == 0, done.stderr
        words = [word for one in family(process) for word in one.cmdline()]
        (run,) = stack.runs_of("imbalance_study")
        record, files = stack.everything(run.info.run_id, tmp_path / "all")
    assert record["info"]["status"] == "FINISHED"
    assert any(name.startswith("checkpoints/") for name in files)
    told = [json.dumps(record), *words, *stack.words("worker"), done.stdout, done.stderr]
    told.append(stack.log("mlflow-auth"))
    told += [(tmp_path / "all" / name).read_bytes().decode("latin-1") for name in files]
    secrets = {value for name, value in stack.settings.items() if name.endswith(("WORD", "KEY"))}
    secrets |= {colleague, base64.b64encode(f"colleague:{colleague}".encode()).decode()}
    assert [secret for secret in secrets if any(secret in text for text in told)] == []


def family(process):
    parent = psutil.Process(process.pid)
    return [parent, *parent.children(recursive=True)]
