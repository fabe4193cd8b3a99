"""docker-compose.yml, Dockerfile, .env.example and the scripts beside them agree and are safe."""

import fcntl
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
EXAMPLE = (ROOT / ".env.example").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
DEFAULTS = dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", EXAMPLE, re.MULTILINE))
FILLED = DEFAULTS | {name: "x" for name in DEFAULTS if name.endswith("_DB_PASSWORD")}
FILLED["POSTGRES_PASSWORD"] = "x"
SERVERS = {"open": "mlflow", "auth": "mlflow-auth", "s3": "mlflow-s3", "s3-auth": "mlflow-s3-auth"}


@pytest.fixture
def services(compose):
    """Settings -> the services as docker-compose reads them, each combination once."""

    def read(**settings):
        key = tuple(sorted(settings.items()))
        if key not in _READ:
            done = compose(["config"], FILLED | settings)
            assert done.returncode == 0, done.stderr
            _READ[key] = yaml.safe_load(done.stdout)["services"]
        return _READ[key]

    return read


_READ = {}


@pytest.mark.parametrize("profile", [*SERVERS, "auth,gpu", "open,cpu", "open,tools"])
def test_the_file_is_valid_with_each_profile_and_starts_one_server(compose, services, profile):
    done = compose(["config", "--quiet"], FILLED | {"COMPOSE_PROFILES": profile})
    assert done.returncode == 0, done.stderr
    found = services()
    wanted = set(profile.split(","))
    started = {name for name in found if set(found[name].get("profiles", wanted)) & wanted}
    assert {"postgres", "databases", "dashboard"} <= started
    assert started & set(SERVERS.values()) == {SERVERS[profile.partition(",")[0]]}


def test_nothing_starts_while_a_password_of_the_databases_is_empty(compose):
    for name in ("POSTGRES_PASSWORD", "MLFLOW_DB_PASSWORD", "OPTUNA_DB_PASSWORD"):
        done = compose(["config", "--quiet"], FILLED | {name: ""})
        assert done.returncode != 0
        assert "run sh deploy/passwords.sh" in done.stderr


def test_ports_are_bound_to_this_machine_unless_told_otherwise(services):
    def addresses(**settings):
        found = services(**settings)
        ports = [str(port) for one in found.values() for port in one.get("ports", [])]
        return {port.rpartition(":")[0].rpartition(":")[0] for port in ports}

    assert addresses() == {"127.0.0.1"}
    everywhere = {"BIND_ADDRESS": "0.0.0.0", "DASHBOARD_BIND_ADDRESS": "10.0.0.1"}
    assert addresses(**everywhere) == {"0.0.0.0", "10.0.0.1"}


def test_services_start_when_what_they_need_is_healthy(services):
    found = services()
    for name, service in found.items():
        needs = {of: how["condition"] for of, how in service.get("depends_on", {}).items()}
        if name not in ("postgres", "databases"):
            assert needs["databases"] == "service_completed_successfully"
        if name != "postgres":
            assert needs["postgres"] == "service_healthy"
    lasting = [name for name, one in found.items() if one.get("restart") == "unless-stopped"]
    assert sorted(lasting) == sorted(["postgres", "dashboard", *SERVERS.values()])
    assert all("healthcheck" in found[name] for name in lasting)


def test_four_workers_of_a_study_share_a_gpu_machine(services):
    worker = services(STUDY="tails")["worker"]
    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert "container_name" not in worker
    assert "ports" not in worker
    assert worker["command"][:2] == ["study", "--study=tails"]


def test_every_setting_is_explained_and_has_the_same_default_in_both_files():
    used = dict(re.findall(r"\$\{([A-Z0-9_]+):-([^}]*)\}", COMPOSE))
    names = set(re.findall(r"(?<!\$)\$\{([A-Z0-9_]+)", COMPOSE))
    assert names | {"COMPOSE_PROFILES"} == set(DEFAULTS)
    assert {name: DEFAULTS[name] for name in used if name != "STUDY_OPTIONS"} == {
        name: value for name, value in used.items() if name != "STUDY_OPTIONS"
    }
    for block in EXAMPLE.strip().split("\n\n"):
        assert block.startswith("#")


def test_no_secret_has_a_value_in_the_repository():
    secrets = [name for name in DEFAULTS if re.search("PASSWORD|SECRET|ACCESS_KEY", name)]
    assert len(secrets) == 8
    assert [name for name in secrets if DEFAULTS[name]] == []
    assert not re.search(r"://[^/\s]*:[^/\s]*@", COMPOSE + DOCKERFILE)
    assert not re.search("PASSWORD|SECRET", DOCKERFILE)


def test_the_images_hold_the_versions_of_conda_yaml():
    pinned = re.findall(r"^ *- ([\w.-]+==[\w.]+) *$", (ROOT / "conda.yaml").read_text(), re.M)
    (pattern,) = re.findall(r"sed -n '(.+)' /tmp/conda.yaml", DOCKERFILE)
    done = subprocess.run(
        ["sed", "-n", pattern, ROOT / "conda.yaml"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == pinned
    (mlflow,) = [pin for pin in pinned if pin.startswith("mlflow==")]
    assert mlflow.replace("mlflow", "mlflow[auth]") in DOCKERFILE
    for word in re.findall(r"pip install (.*)", DOCKERFILE.replace("\\\n", "")):
        names = [name for name in word.split("&&")[0].split() if not name.startswith(("-", "/"))]
        assert all("==" in name for name in names)


def test_what_the_images_copy_is_sent_to_the_engine_and_env_is_not():
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in rules
    sent = [rule[1:] for rule in rules if rule.startswith("!")]
    copied = [
        name
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for name in line.split()
    ]
    assert {name.partition("/")[0] for name in copied} == set(sent)
    assert all((ROOT / name).exists() for name in copied)
    assert not any(name.startswith(".env") for name in sent)
    assert DOCKERFILE.count("USER study") == 2


@pytest.fixture
def checkout(tmp_path):
    """A folder with the scripts and .env.example."""
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    shutil.copy(ROOT / ".env.example", tmp_path)
    return tmp_path


def test_one_command_fills_the_passwords_and_keeps_those_that_are_there(checkout):
    def fill():
        subprocess.run(["sh", "deploy/passwords.sh"], cwd=checkout, check=True, capture_output=True)
        text = (checkout / ".env").read_text()
        return dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", text, re.MULTILINE))

    filled = fill()
    assert (checkout / ".env").stat().st_mode & 0o077 == 0
    changed = {name for name in DEFAULTS if filled[name] != DEFAULTS[name]}
    assert changed == {*FILLED.keys() - DEFAULTS.keys()} | {
        *("POSTGRES_PASSWORD", "MLFLOW_DB_PASSWORD", "OPTUNA_DB_PASSWORD", "MLFLOW_SECRET_KEY")
    }
    assert len({filled[name] for name in changed}) == 4
    assert all(re.fullmatch("[0-9a-f]{48}", filled[name]) for name in changed)
    assert fill() == filled


@pytest.fixture
def work(tmp_path):
    """Words and variables -> what the worker's script hands to the program, and on which GPU."""
    program = tmp_path / "bin" / "imbalance-study"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "gpu ${CUDA_VISIBLE_DEVICES:-any}"; printf "%s\\n" "$@"\n')
    program.chmod(0o755)
    python = tmp_path / "bin" / "python"
    python.write_text("#!/bin/sh\nexit ${ANSWERS:-0}\n")
    python.chmod(0o755)
    (tmp_path / "dev").mkdir()

    def run(*words, **environment):
        places = {"PATH": f"{program.parent}:{os.environ['PATH']}", "DEVICES": f"{tmp_path}/dev"}
        places |= {"IMBALANCE_STUDY_CACHE": str(tmp_path), "MLFLOW_TRACKING_URI": "http://mlflow"}
        return subprocess.run(
            ["sh", ROOT / "deploy" / "worker.sh", *words],
            env=places | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    run.folder = tmp_path
    return run


def test_a_worker_takes_a_gpu_that_no_other_has(work):
    assert work("train").stdout == "gpu any\ntrain\n"
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (work.folder / "dev" / name).touch()
    taken = []
    for number, gpu in enumerate(("0", "1", "0")):
        assert work("train").stdout == f"gpu {gpu}\ntrain\n"
        taken.append((work.folder / f".worker-{number}").open("w"))
        fcntl.flock(taken[-1], fcntl.LOCK_EX)
    taken[1].close()
    assert work("train").stdout == "gpu 1\ntrain\n"


def test_options_of_a_study_are_words_and_never_commands(work):
    options = f"--dataset digits  --trials 2 $(touch {work.folder}/no) * ;touch"
    done = work("study", "--study=a b", STUDY_OPTIONS=options)
    assert done.stdout.splitlines()[1:] == ["study", "--study=a b", *options.split()]
    assert not (work.folder / "no").exists()
    assert work("train", STUDY_OPTIONS=options).stdout == "gpu any\ntrain\n"


def test_a_worker_without_a_server_says_how_to_start_it(work):
    done = work("train", ANSWERS="1")
    assert done.returncode == 1
    assert done.stderr == (
        "worker: http://mlflow does not answer; start the server: docker-compose up -d\n"
    )
