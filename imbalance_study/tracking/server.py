"""A look at a tracking server before a training: whether it answers, as which version, in JSON."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

# Seconds within which a server must answer.
_TIMEOUT = 10.0
# The first version whose servers keep models as records of their own; without them no run ends.
_FIRST_MAJOR = 3
_known: set[str] = set()  # addresses whose version and answers this process has seen


def check(uri: str, ways_out: str) -> None:
    """Ask a server for its health, its version, and one list of experiments.

    MLflow's client believes every answer with status 200, also the login page of a gateway. Version
    and answers are asked for once in a process.

    Args:
        uri: Address of the server.
        ways_out: What a person can do instead, for the message.

    Raises:
        ValueError: It does not answer, is older than MLflow 3, or does not answer in JSON.
    """
    shown = _without_password(uri)
    _check_health(shown, ways_out)
    if uri in _known:
        return
    answer = _ask(uri, "GET", "/version")
    version = (
        re.fullmatch(r"(\d+)\.\d+[\w.+-]*", answer.text.strip()) if answer is not None else None
    )
    if version and int(version[1]) < _FIRST_MAJOR:
        raise ValueError(
            f"the tracking server {shown} is MLflow {version[0]}, which knows no logged models, so "
            f"that no run could end there; upgrade it to MLflow {_FIRST_MAJOR} or later, {ways_out}"
        )
    listed = _ask(uri, "POST", "/api/2.0/mlflow/experiments/search", json={"max_results": 1})
    if listed is not None and listed.status_code == 200 and not _is_json(listed):
        raise ValueError(
            f"the tracking server {shown} answers with {_kind(listed)} where MLflow answers with "
            f"JSON: it is another program, or asks for a login; correct the address (with user and "
            f"password, or MLFLOW_TRACKING_TOKEN), {ways_out}"
        )
    _known.add(uri)


def _check_health(shown: str, ways_out: str) -> None:
    try:
        with urllib.request.urlopen(shown.rstrip("/") + "/health", timeout=_TIMEOUT):
            return
    except urllib.error.HTTPError as error:
        if error.code in (401, 403, 404):  # it is reachable; MLflow's own client explains these
            return
        reason = f"it answers {error.code} {error.reason}"
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "reason", error))
    raise ValueError(
        f"the tracking server {shown} cannot be reached ({reason}); start it, {ways_out}"
    )


def _ask(uri: str, method: str, path: str, **content: Any) -> requests.Response | None:
    """Ask with the credentials of MLflow's client; None for no answer, which that one explains."""
    try:
        answer: requests.Response = http_request(
            get_default_host_creds(uri), path, method, timeout=_TIMEOUT, max_retries=1, **content
        )
        return answer
    except (MlflowException, requests.RequestException):
        return None


def _is_json(answer: requests.Response) -> bool:
    try:
        return isinstance(answer.json(), dict)
    except ValueError:
        return False


def _kind(answer: requests.Response) -> str:
    kind = answer.headers.get("Content-Type", "").partition(";")[0]
    if kind == "text/html" or answer.text.lstrip()[:1] == "<":
        return "a page of HTML"
    return f"{answer.text[:40]!r}"


def _without_password(uri: str) -> str:
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
