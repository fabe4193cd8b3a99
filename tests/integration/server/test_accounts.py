"""The server with accounts, started outside Docker with the compose file's words and variables."""

import base64
import json
import re
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.server.auth.client import AuthServiceClient

ROOT = Path(__file__).parents[3]

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
        own = "--experiment=of_colleague"
        done = stack.run("worker", "train", *stack.tiny, own, **account)
        assert done.returncode == 0, done.stderr
        words = [word for one in family(process) for word in one.cmdline()]
        (run,) = stack.runs_of("of_colleague")
        record, files = stack.everything(run.info.run_id, tmp_path / "all")
    assert record["info"]["status"] == "FINISHED"
    assert any(name.startswith("checkpoints/") for name in files)
    told = [json.dumps(record), *words, *stack.words("worker"), done.stdout, done.stderr]
    told.append(stack.log("mlflow-auth"))
    told += [(tmp_path / "all" / name).read_bytes().decode("latin-1") for name in files]
    secrets = {value for name, value in stack.settings.items() if name.endswith(("WORD", "KEY"))}
    secrets |= {colleague, base64.b64encode(f"colleague:{colleague}".encode()).decode()}
    assert [secret for secret in secrets if any(secret in text for text in told)] == []


def test_a_second_account_reads_what_a_first_one_made_and_changes_nothing(
    stack, monkeypatch, tmp_path
):
    admin = stack.settings["MLFLOW_ADMIN_PASSWORD"]
    accounts = {"anna": "anna-secret-of-12", "ben": "ben-secret-of-12"}

    def log_in(name, password):
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", name)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)

    with stack.running("mlflow-auth"):
        log_in("admin", admin)
        rights = AuthServiceClient(stack.address)
        for name, password in accounts.items():
            rights.create_user(name, password)
        client = MlflowClient(stack.address)
        log_in("anna", accounts["anna"])
        made = _things(client, tmp_path)
        before = stack.everything(made.run, tmp_path / "before")
        log_in("ben", accounts["ben"])
        answers = {asked: _answer(ask) for asked, ask in _requests(client, made, tmp_path, rights)}
        words = ("worker", "train", *stack.tiny, "--experiment=of_anna")
        ben = {"MLFLOW_TRACKING_USERNAME": "ben", "MLFLOW_TRACKING_PASSWORD": accounts["ben"]}
        refused = stack.run(*words, **ben)
        log_in("anna", accounts["anna"])
        after = stack.everything(made.run, tmp_path / "after")
        rights.grant_user_permission("ben", "experiment", made.experiment, "EDIT")
        allowed = stack.run(*words, **ben)
    assert answers == _documented()
    assert after == before
    assert refused.returncode == 1
    assert "Permission denied" in refused.stderr.splitlines()[-1]
    assert "Traceback" not in refused.stderr
    assert allowed.returncode == 0, allowed.stderr


class Things(NamedTuple):
    """Ids of what the first account made."""

    experiment: str
    run: str
    model: str


def _things(client, folder):
    experiment = client.create_experiment("of_anna")
    run = client.create_run(experiment).info.run_id
    client.log_metric(run, "a", 1.0)
    weights = folder / "best.pt"
    weights.write_bytes(b"weights")
    client.log_artifact(run, str(weights), "checkpoints")
    client.create_registered_model("model_of_anna")
    client.create_model_version("model_of_anna", f"runs:/{run}/checkpoints", run)
    client.set_registered_model_alias("model_of_anna", "champion", 1)
    return Things(experiment, run, "model_of_anna")


def _requests(client, made, folder, rights):
    """What a second account asks for, in words, and the request."""
    experiment, run, model = made
    other = folder / "other"
    other.mkdir()
    (other / "best.pt").write_bytes(b"other weights")
    place = f"runs:/{run}/checkpoints"
    return [
        ("read a run", lambda: client.get_run(run)),
        ("download its artifacts", lambda: client.download_artifacts(run, "", str(other))),
        ("read a registered model", lambda: client.get_registered_model(model)),
        ("record a run in its experiment", lambda: client.create_run(experiment)),
        ("write a metric", lambda: client.log_metric(run, "a", 2.0)),
        ("write a tag", lambda: client.set_tag(run, "best_sha256", "0")),
        ("replace its weights",
         lambda: client.log_artifact(run, str(other / "best.pt"), "checkpoints")),
        ("delete a run", lambda: client.delete_run(run)),
        ("rename the experiment", lambda: client.rename_experiment(experiment, "of_ben")),
        ("delete the experiment", lambda: client.delete_experiment(experiment)),
        ("add a version to a model", lambda: client.create_model_version(model, place, run)),
        ("move the alias of a model",
         lambda: client.set_registered_model_alias(model, "champion", 1)),
        ("delete a version", lambda: client.delete_model_version(model, "1")),
        ("delete a model", lambda: client.delete_registered_model(model)),
        ("give themselves rights",
         lambda: rights.grant_user_permission("ben", "experiment", experiment, "EDIT")),
        ("make an account", lambda: rights.create_user("carla", "carla-secret-of-12")),
        ("make an experiment and record in it",
         lambda: client.create_run(client.create_experiment("of_ben"))),
        ("register a model of their own", lambda: client.create_registered_model("model_of_ben")),
    ]  # fmt: skip


def _answer(ask):
    try:
        ask()
    except MlflowException as error:
        return "refused" if error.get_http_status_code() == 403 else f"failed: {error}"
    except requests.HTTPError as error:  # of the routes of artifacts
        return "refused" if error.response.status_code == 403 else f"failed: {error}"
    return "allowed"


def _documented():
    """The table of docs/server.md: what is asked for, and the answer."""
    section = (ROOT / "docs" / "server.md").read_text().split("\n## Accounts\n")[1]
    rows = re.findall(r"^\| ([^|]+) \| (allowed|refused) \|$", section.split("\n## ")[0], re.M)
    return dict(rows)


def family(process):
    parent = psutil.Process(process.pid)
    return [parent, *parent.children(recursive=True)]
