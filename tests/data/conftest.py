"""Image folders made on the spot, and a web server on this machine."""

import functools
import http.server
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeFolder = Callable[..., Path]


@pytest.fixture
def image_folder(tmp_path: Path) -> MakeFolder:
    """Makes a folder of 6x6 PNG files, {"train/cat": 3} being 0.png to 2.png in train/cat.

    The red of each image is its number; the green is the number of its folder.
    """

    def make(counts: Mapping[str, int], name: str = "images") -> Path:
        root = tmp_path / name
        for position, (folder, count) in enumerate(counts.items()):
            (root / folder).mkdir(parents=True)
            for number in range(count):
                pixels = np.full((6, 6, 3), (number, position, 7), np.uint8)
                Image.fromarray(pixels).save(root / folder / f"{number}.png")
        return root

    return make


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder, and the address where a web server of this machine shows it."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            if self.path.endswith("/broken"):  # promises more than it sends
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"only this")
            else:
                super().do_GET()

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
