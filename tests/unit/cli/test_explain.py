import pytest


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "images must name an image or a folder"),
        (("--images", "x.png"), "give either run=ID, or weights="),
        (("--images", "x.png", "--run", "1", "--weights", "imagenet"), "give either run=ID, or"),
        (("--images", "no/such.png", "--weights", "w"), "there is no image or folder no/such.png"),
        (("--images", ".", "--weights", "w"), "there are no images in ."),
        (("--methods", "lime", "--images", "."), "unknown methods 'lime'; known: gradcam"),
        (("--colormap", "rainbow"), "colormap must be"),
    ],
)
def test_a_mistake_is_one_line(args, message, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    done = command("explain", *args)
    assert done.status == 1
    assert message in done.err
    assert done.err.count("\n") == 1
