"""Servers on loopback that can be killed with -9 and started again: MLflow's, and PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class MLflowServer:
    """A `mlflow server` with its artifacts in `folder`, always at the same address."""

    def __init__(self, folder: Path, store: str) -> None:
        self.folder, self.store, self.port = folder, store, free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> MLflowServer:
        words = [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"),
            *("--port", str(self.port), "--workers", "1", "--backend-store-uri", self.store),
            *("--artifacts-destination", str(self.folder / "artifacts")),
        ]
        # Its eight processes for jobs of generative models would cost more than the server.
        environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                words, stdout=log, stderr=log, cwd=self.folder, env=environment
            )
        until = time.monotonic() + 180
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(self.address + "/health"):
                return self
            if time.monotonic() > until:
                raise TimeoutError(f"the server did not start; see {self.folder / 'server.log'}")
            time.sleep(0.3)

    def kill(self) -> None:
        """With -9, its workers too."""
        import psutil

        if self.process is None:
            return
        family = psutil.Process(self.process.pid)
        for process in [*family.children(recursive=True), family]:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.process.wait(30)
        self.process = None


def postgres_programs() -> Path | None:
    """The folder of PostgreSQL's programs; None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if found:
        return found[-1].parent
    there = shutil.which("postgres")
    return Path(there).parent if there else None


class Postgres:
    """A PostgreSQL server of its own; as root it runs as the user postgres."""

    def __init__(self, folder: Path) -> None:
        programs = postgres_programs()
        if programs is None:
            raise FileNotFoundError("there is no PostgreSQL on this machine")
        self.folder, self.programs, self.port = folder, programs, free_port()
        self.address = f"postgresql+psycopg2://postgres:hush@127.0.0.1:{self.port}/postgres"
        self._as = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        folder.mkdir(parents=True, exist_ok=True)
        if self._as:
            shutil.chown(folder, "postgres")
        password = folder / "password"
        password.write_text("hush")
        password.chmod(0o644)
        words = ["initdb", "-D", str(folder / "data"), "-U", "postgres", "-A", "scram-sha-256"]
        self._run([*words, f"--pwfile={password}"])

    def _run(self, words: list[str]) -> None:
        words = [*self._as, str(self.programs / words[0]), *words[1:]]
        subprocess.run(words, check=True, capture_output=True, cwd=self.folder)

    def start(self) -> Postgres:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1"
        words = ["pg_ctl", "-D", str(self.folder / "data"), "-w", "-o", options]
        self._run([*words, "-l", str(self.folder / "data" / "log"), "start"])
        return self

    def kill(self) -> None:
        """With -9, and all that it started."""
        import psutil

        pid_file = self.folder / "data" / "postmaster.pid"
        if not pid_file.exists():
            return
        with contextlib.suppress(psutil.Error):
            family = psutil.Process(int(pid_file.read_text().split()[0]))
            every = [*family.children(recursive=True), family]
            for process in every:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(every, 10)
        pid_file.unlink(missing_ok=True)
