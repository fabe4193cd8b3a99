"""Serve optuna-dashboard to the hosts that are named.

A page elsewhere can make a browser send requests to this machine, under a name that it chooses
itself (DNS rebinding), and the dashboard deletes studies without asking for an account. So a
request is refused whose Host, or whose Origin if it has one, is none of DASHBOARD_ALLOWED_HOSTS:
names with their port, by comma.

    python dashboard.py --host=0.0.0.0 --port=8080 STORAGE
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from gunicorn.app.base import BaseApplication
from optuna_dashboard import wsgi

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def for_hosts(application: Application, allowed: set[str]) -> Application:
    """Refuse requests to another host, or from a page of another one, with status 403."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        origin = environ.get("HTTP_ORIGIN")
        asked = {environ.get("HTTP_HOST", "")}
        if origin is not None:
            asked.add(urlsplit(origin).netloc)
        if asked <= allowed:
            return application(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"This host is not named in DASHBOARD_ALLOWED_HOSTS.\n"]

    return answer


class Server(BaseApplication):  # type: ignore[misc]
    """A gunicorn server of one application."""

    def __init__(self, application: Application, address: str) -> None:
        self.application, self.address = application, address
        super().__init__()

    def load_config(self) -> None:
        """Set address and threads."""
        self.cfg.set("bind", self.address)
        self.cfg.set("threads", 4)

    def load(self) -> Application:
        """Return the application."""
        return self.application


def main() -> None:
    """Serve until a signal ends it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("storage")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    asked = parser.parse_args()
    named = os.environ.get("DASHBOARD_ALLOWED_HOSTS", f"localhost:{asked.port}")
    hosts = {host.strip() for host in named.split(",")}
    Server(for_hosts(wsgi(asked.storage), hosts), f"{asked.host}:{asked.port}").run()


if __name__ == "__main__":
    main()
