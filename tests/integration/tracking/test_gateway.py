"""A gateway in front of the server that answers 200 and passes nothing on."""

import http.server
import threading
import urllib.error
import urllib.request

import pytest
from mlflow import MlflowClient

from imbalance_study.config.resolve import make
from imbalance_study.tracking import journal, sync
from imbalance_study.tracking.session import session

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_place")]


@pytest.fixture
def gateway(mlflow_server):
    """A proxy; while `swallows` is set, it takes what is written and passes nothing on."""

    class Proxy(http.server.BaseHTTPRequestHandler):
        def _answer(self):
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            writes = self.command in ("PUT", "POST") and "search" not in self.path
            if self.server.swallows and writes:
                return self._send(200, b"{}", "application/json")
            request = urllib.request.Request(
                mlflow_server.address + self.path, body or None, method=self.command
            )
            if "Content-Type" in self.headers:
                request.add_header("Content-Type", self.headers["Content-Type"])
            try:
                with urllib.request.urlopen(request) as answer:
                    kind = answer.headers.get("Content-Type", "")
                    return self._send(answer.status, answer.read(), kind)
            except urllib.error.HTTPError as error:
                return self._send(error.code, error.read(), "application/json")

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _answer

        def _send(self, status, content, kind):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    server.swallows = False
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def test_what_a_gateway_swallowed_is_kept_and_uploaded_later(gateway, capsys):
    address = f"http://127.0.0.1:{gateway.server_port}"
    config = make(dataset="digits", system_metrics=False, tracking_uri=address)
    with session(config) as run:
        journal.current().params({"loss": "focal"})
        gateway.swallows = True
        journal.current().metrics({"a": 1.0}, 1)
        journal.current().files({"figures/a.png": b"a"})
    assert "does not show" in capsys.readouterr().err
    assert run.journal.folder.exists()
    gateway.swallows = False
    (outcome,) = sync.sync([run.info.run_id])
    assert outcome.uploaded, outcome.message
    client = MlflowClient(address)
    record = client.get_run(run.info.run_id)
    assert record.info.status == "FINISHED"
    assert record.data.metrics == {"a": 1.0}
    assert record.data.params["loss"] == "focal"
    assert [file.path for file in client.list_artifacts(run.info.run_id, "figures")] == [
        "figures/a.png"
    ]
    assert not run.journal.folder.exists()
