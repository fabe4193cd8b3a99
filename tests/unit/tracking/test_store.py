import http.server
import threading

import pytest

from imbalance_study.tracking import store


def test_a_server_that_does_not_answer_is_named_with_what_to_do():
    with pytest.raises(ValueError, match=r"127\.0\.0\.1:9 cannot be reached.*tracking_uri"):
        store.connect("http://127.0.0.1:9")


def test_a_server_that_fails_is_named_with_its_answer():
    class Broken(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(500)

        def log_message(self, *args):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Broken)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with pytest.raises(ValueError, match="it answers 500"):
            store.connect(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()


def test_a_password_in_the_address_is_not_shown():
    with pytest.raises(ValueError, match="cannot be reached") as caught:
        store.connect("http://someone:secret@127.0.0.1:9")
    assert "secret" not in str(caught.value)
    assert store.without_password("http://a:b@host:1/x") == "http://host:1/x"


def test_a_store_that_cannot_be_written_is_an_error_at_once(tmp_path):
    with pytest.raises(ValueError, match=r"cannot be written.*correct tracking_uri"):
        store.connect(f"sqlite:///{tmp_path}/missing/mlflow.db")
    text = tmp_path / "text.db"
    text.write_text("this is no database, only text that is long enough to be looked at")
    with pytest.raises(ValueError, match="cannot be written"):
        store.connect(f"sqlite:///{text}")


def test_a_store_that_is_not_there_yet_is_made(tmp_path):
    path = tmp_path / "new.db"
    assert store.connect(f"sqlite:///{path}") == f"sqlite:///{path}"
    assert path.exists()


def test_an_address_that_mlflow_does_not_know_is_one_sentence():
    with pytest.raises(ValueError, match=r"MLflow cannot record the run: .*unsupported URI"):
        store.connect("foo://x")


def test_what_reads_its_runs_back_is_not_recorded_offline():
    store.refuse_offline("online", "a study")
    with pytest.raises(
        ValueError,
        match="a study reads its runs back from MLflow",
    ):
        store.refuse_offline("offline", "a study")
