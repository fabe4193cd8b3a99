"""optuna-dashboard as the compose file starts it, for the hosts that are named."""

import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import optuna
import pytest
from servers import free_port

PROGRAM = Path(__file__).parents[3] / "deploy" / "dashboard.py"


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory):
    """The port of a dashboard of one study."""
    storage = f"sqlite:///{tmp_path_factory.mktemp('dashboard') / 'studies.db'}"
    optuna.create_study(storage=storage, study_name="tails")
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), f"--port={port}", storage],
        env=os.environ | {"DASHBOARD_ALLOWED_HOSTS": f"127.0.0.1:{port}, gpu.example.org"},
    )
    end = time.monotonic() + 120
    while _status(port) is None and time.monotonic() < end:
        time.sleep(0.1)
    yield port
    process.terminate()
    process.wait(30)


def _status(port, method="GET", path="/api/studies", **headers):
    address = f"http://127.0.0.1:{port}{path}"
    request = urllib.request.Request(address, headers=headers, method=method)
    with contextlib.suppress(urllib.error.URLError):
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
    return None


@pytest.mark.slow
def test_named_hosts_are_answered_and_others_refused(dashboard):
    assert _status(dashboard) == 200
    assert _status(dashboard, Host="gpu.example.org") == 200
    for host in ("evil.example.org", f"evil.example.org:{dashboard}", "127.0.0.1", "localhost"):
        assert _status(dashboard, Host=host) == 403, host


@pytest.mark.slow
def test_no_page_of_another_host_deletes_a_study(dashboard):
    study = {"method": "DELETE", "path": "/api/studies/1"}
    for origin in ("http://evil.example.org", "null", "", f"http://127.0.0.1:{dashboard + 1}"):
        assert _status(dashboard, **study, Origin=origin) == 403, origin
    assert _status(dashboard, path="/api/studies/1?after=0") == 200
    assert _status(dashboard, **study, Origin=f"http://127.0.0.1:{dashboard}") == 204
