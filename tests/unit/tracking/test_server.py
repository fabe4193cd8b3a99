import http.server
import threading

import pytest

from imbalance_study.tracking import server, store

PAGE = b"<!doctype html><title>Sign in</title>"


@pytest.fixture
def answering():
    """A function that starts a server with these answers: path to status, type and content."""
    running = []

    def start(answers):
        class Answers(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, kind, content = answers.get(self.path, (404, "text/plain", b"none"))
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET

            def log_message(self, *args):
                pass

        running.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers))
        threading.Thread(target=running[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{running[-1].server_port}"

    yield start
    for one in running:
        one.shutdown()
        one.server_close()


HEALTH, VERSION = "/health", "/version"
SEARCH = "/api/2.0/mlflow/experiments/search"
OK = (200, "text/html", b"OK")
LIST = (200, "application/json", b'{"experiments": []}')


@pytest.mark.parametrize("version", [b"2.22.1", b"1.30.0", b"2.9.0rc1"])
def test_a_server_before_mlflow_3_is_refused_with_its_version(answering, version):
    address = answering({HEALTH: OK, VERSION: (200, "text/plain", version), SEARCH: LIST})
    with pytest.raises(ValueError, match=f"is MLflow {version.decode()}.*upgrade it.*tracking=off"):
        store.connect(address)


def test_a_page_in_place_of_an_answer_is_refused(answering):
    page = (200, "text/html", PAGE)
    address = answering({HEALTH: page, VERSION: page, SEARCH: page})
    with pytest.raises(ValueError, match=r"answers with a page of HTML.*MLFLOW_TRACKING_TOKEN"):
        store.connect(address)


def test_words_in_place_of_an_answer_are_shown(answering):
    address = answering({HEALTH: OK, SEARCH: (200, "text/plain", b"welcome")})
    with pytest.raises(ValueError, match="answers with 'welcome'"):
        server.check(address, "do otherwise")


@pytest.mark.parametrize("version", [b"3.0.0", b"3.17.2", b"10.1", b"some other text"])
def test_later_servers_and_those_that_hide_their_version_pass(answering, version):
    address = answering({HEALTH: OK, VERSION: (200, "text/plain", version), SEARCH: LIST})
    server.check(address, "")


def test_a_server_without_a_version_passes(answering):
    server.check(answering({SEARCH: LIST}), "")


def test_version_and_answers_are_asked_for_once(answering):
    answers = {HEALTH: OK, VERSION: (200, "text/plain", b"3.1.0"), SEARCH: LIST}
    address = answering(answers)
    server.check(address, "")
    answers[VERSION] = (200, "text/plain", b"2.0.0")
    server.check(address, "")
