import json

import pytest
from made_folders import folder

OPTIONS = ("--image_size=32", "--device=cpu")


@pytest.mark.slow
@pytest.mark.usefixtures("own_place")
def test_the_verdict_is_printed_and_as_json(command, empty_store, tmp_path):
    images = folder(tmp_path / "images", {"rust": 20, "scab": 9})
    words = [f"--data_dir={images}", f"--tracking_uri={empty_store}", "--minutes=0.001", *OPTIONS]
    done = command("advise", *words)
    assert done.status == 0, done.err
    for part in ("Data: 29 images of 2 classes", "early answer", "--dataset imagefolder"):
        assert part in done.out
    assert "advice/advice.html" in done.out
    found = json.loads(command("advise", *words, "--json").out)
    assert len(found["verdict"]) == 5


@pytest.mark.parametrize(
    ("sizes", "words", "message"),
    [
        ({"rust": 5}, (), "at least two class folders"),
        ({"rust": 5, "scab": 1}, (), "scab has fewer"),
        ({}, (), "found: none"),
        ({"rust": 5, "scab": 5}, ("--minutes=0",), "minutes must be larger than 0"),
        ({"rust": 5, "scab": 5}, ("--loss=focal",), "unknown option"),
        ({"rust": 5, "scab": 5}, ("--metric=f1",), "unknown metric"),
    ],
)
def test_bad_input_is_one_line(sizes, words, message, command, tmp_path):
    (tmp_path / "images").mkdir()
    images = folder(tmp_path / "images", sizes)
    done = command("advise", f"--data_dir={images}", *OPTIONS, *words)
    assert done.status in (1, 2)
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_a_group_column_with_one_group_is_one_line(command, tmp_path):
    images = folder(tmp_path / "images", {"rust": 5, "scab": 5})
    lines = [f"{name}/{n}.png,{name},P1" for name in ("rust", "scab") for n in range(5)]
    (images / "labels.csv").write_text("\n".join(["path,label,patient_id", *lines]))
    done = command("advise", f"--data_dir={images / 'labels.csv'}", *OPTIONS)
    assert done.status == 1
    assert "all its images are of one group" in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_the_help_has_the_options_of_images_and_record_alone(command):
    text = command("advise", "--help").out
    for name in ("--data_dir", "--minutes", "--metric", "--image_size", "--tracking_uri"):
        assert name in text
    for name in ("--loss", "--epochs", "--freeze"):
        assert name not in text
