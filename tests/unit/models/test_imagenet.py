import hashlib
import http.server
import threading

import pytest

from imbalance_study.models import imagenet


@pytest.fixture
def served(tmp_path):
    """A folder, and the address that it is served at."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def _weights(url):
    return imagenet.Published(
        "resnet18", url.rpartition("/")[2], url, 224, (0.5,) * 3, (0.2,) * 3, ("a", "b")
    )


def test_weights_are_downloaded_once_and_checked_by_the_hash_in_their_name(
    served, tmp_path, monkeypatch
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    folder, url = served
    content = b"weights"
    name = f"resnet18-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    (folder / name).write_bytes(content)
    path = imagenet.weights_file(_weights(f"{url}/{name}"))
    assert path == tmp_path / "home" / "hub" / "checkpoints" / name
    assert path.read_bytes() == content
    (folder / name).unlink()
    assert imagenet.weights_file(_weights(f"{url}/{name}")) == path


def test_a_download_with_another_hash_is_refused_and_leaves_nothing(served, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    folder, url = served
    (folder / "resnet18-01234567.pth").write_bytes(b"a page of a proxy")
    with pytest.raises(ValueError, match=r"SHA256 .* where 01234567 is right: .*nothing was kept"):
        imagenet.weights_file(_weights(f"{url}/resnet18-01234567.pth"))
    assert not list((tmp_path / "home" / "hub" / "checkpoints").iterdir())


def test_no_network_is_one_sentence_that_says_what_to_copy(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = "resnet18-01234567.pth"
    with pytest.raises(ValueError, match=r"resnet18 cannot be downloaded from http") as refused:
        imagenet.weights_file(_weights(f"http://127.0.0.1:9/{file}"))
    assert f"copy that file to {tmp_path}/hub/checkpoints/{file} (" in str(refused.value)


def test_the_preprocessing_is_what_torchvision_says():
    found = imagenet.published("vgg16")
    assert (found.image_size, len(found.class_names)) == (224, 1000)
    assert imagenet.preprocessing() == (found.mean, found.std)
    assert (
        imagenet.published("mobilenet_v2_autoencoder").url == imagenet.published("mobilenet_v2").url
    )


def test_a_missing_package_of_weights_is_named(monkeypatch):
    monkeypatch.setitem(imagenet.PACKAGES, "efficientnet_lite0", ("not_there", "*.pth"))
    with pytest.raises(ValueError, match=r"in the package not-there, which is not installed"):
        imagenet.weights_file(imagenet.published("efficientnet_lite0"))
