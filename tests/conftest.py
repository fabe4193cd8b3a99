"""What all tests share: an environment of their own, stores, servers and one tiny run.

Tests compute on one thread: the small tensors here gain nothing from two, and a busy machine makes
two wait for each other. Torch reads the variable when it is imported, which is later.
"""

import contextlib
import gc
import os
import pwd
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import filelock
import hypothesis
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

CACHE = "IMBALANCE_STUDY_CACHE"
KEPT = ("IMBALANCE_STUDY_REAL_DATA",)  # it says which tests can run


def _forget_settings():
    """Drop what the shell, or a test, has said about MLflow and about us."""
    for name in [*os.environ]:
        if name.startswith(("MLFLOW_", "_MLFLOW_", "IMBALANCE_STUDY_")) and name not in KEPT:
            del os.environ[name]


_forget_settings()  # before anything reads it

# .ci/run asks for the second; `examples.at_most` lowers what a test asks for in the first.
hypothesis.settings.register_profile("dev", max_examples=20, deadline=None)
hypothesis.settings.register_profile("ci", max_examples=100, deadline=None)

# What is started in the background inherits that Ctrl-C is ignored, and by nohup the end of the
# terminal; tests send both.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish():
    """Let the garbage collector pass over the millions of objects of imported modules."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure():
    """Let it look at them at the end: some libraries report what is left as a leak."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _threads(request):
    """As many threads of torch as the mark ``threads`` asks for, while its test lasts."""
    mark = request.node.get_closest_marker("threads")
    if mark is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(*mark.args)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small_files_only():
    """A context in which no file can grow beyond so many bytes, as on a disk that fills up.

    Only around the call under test: the limit is that of the whole process, its log included.
    """

    @contextlib.contextmanager
    def limited(size):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory):
    """A folder that all processes of these tests share."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session", autouse=True)
def session_cache(session_folder):
    """A cache that belongs to these tests, whatever the shell names."""
    os.environ[CACHE] = str(session_folder / "cache")
    return os.environ[CACHE]


@pytest.fixture(autouse=True)
def clean_env(session_cache):
    """No setting of MLflow or of ours in the environment, but for the cache; nor afterwards."""

    def clean():
        _forget_settings()
        os.environ[CACHE] = session_cache
        if mlflow := sys.modules.get("mlflow"):
            mlflow.set_tracking_uri(None)
        if session := sys.modules.get("imbalance_study.tracking.session"):
            session._incomplete.clear()  # runs of other tests

    clean()
    yield
    clean()


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory, make_store):
    """A small run with a model in a store of its own, for tests of what is done with it later."""
    import tiny

    folder = tmp_path_factory.mktemp("tiny_run")
    return tiny.train(make_store(folder), folder, loss="ldam", analyses="confusion+calibration")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """The URL of an empty database on a PostgreSQL server of our own, which ends with the tests.

    The server refuses to run as root, so that root starts it as the user that Debian's package
    makes for it.
    """
    from servers import free_port, postgres_programs

    programs = postgres_programs()
    if programs is None:
        pytest.skip("there is no PostgreSQL server program")
    pytest.importorskip("psycopg2", reason="no PostgreSQL driver: pip install psycopg2-binary")
    root = os.geteuid() == 0
    if root:
        try:
            pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    as_user = ["runuser", "-u", "postgres", "--"] if root else []
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as folder:
        if root:
            shutil.chown(folder, "postgres")
        data, port = Path(folder, "data"), free_port()

        def call(program, *words):
            command = [*as_user, str(programs / program), *words]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, f"{command}: {done.stdout} {done.stderr}"

        call("initdb", "-D", str(data), "-U", "tester", "-A", "trust", "--no-sync")
        options = f"-h 127.0.0.1 -p {port} -k {folder} -c fsync=off"
        call(
            "pg_ctl", "-D", str(data), "-w", "-l", str(Path(folder, "log")), "-o", options, "start"
        )
        try:
            call("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "tester", "study")
            yield f"postgresql+psycopg2://tester@127.0.0.1:{port}/study"
        finally:
            call("pg_ctl", "-D", str(data), "-m", "immediate", "stop")


@pytest.fixture(scope="session")
def make_store(session_folder):
    """A function that puts an empty store into a folder, and gives its address.

    Making one takes a second of computing, copying it nothing.
    """
    from mlflow import MlflowClient

    empty = session_folder / "empty.db"
    with filelock.FileLock(f"{empty}.lock"):
        if not empty.exists():
            MlflowClient(f"sqlite:///{empty}").search_experiments()

    def make(folder):
        path = folder / "mlflow.db"
        if not path.exists():
            shutil.copyfile(empty, path)
        return f"sqlite:///{path}"

    return make


@pytest.fixture
def empty_store(make_store, tmp_path):
    """The address of a store without a run, in the folder of the test."""
    return make_store(tmp_path)


class Finished(NamedTuple):
    """A command that has ended."""

    status: int
    out: str
    err: str


@pytest.fixture
def command(capsys):
    """A function that runs a command of the program in this process: words -> `Finished`."""
    from imbalance_study import cli

    def run(*words):
        status = 0
        try:
            cli.main([str(word) for word in words])
        except SystemExit as stop:
            status = stop.code
        return Finished(status, *capsys.readouterr())

    return run


@pytest.fixture
def own_place(monkeypatch, tmp_path):
    """A cache and a current folder of the test's own."""
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def mlflow_server(tmp_path, make_store):
    """A running server that can be killed and started again."""
    from servers import MLflowServer

    folder = tmp_path / "server"
    folder.mkdir()
    server = MLflowServer(folder, make_store(folder))
    try:
        yield server.start()
    finally:
        server.kill()
