"""Layouts that people publish: what the report says of each, and that each trains."""

import pytest
import tiny
from mlflow import MlflowClient
from published_layouts import LAYOUTS

from imbalance_study.config.resolve import resolve
from imbalance_study.experiment.setup.components import bind
from imbalance_study.experiment.setup.data import load_data

SMALL = {"model": "resnet20", "image_size": "16", "device": "cpu"}

# Layout: training, validation and test images of each class, and lines of the report.
WORDS = {
    "brain_mri": (
        {"glioma": (11, 1, 4), "meningioma": (9, 1, 4), "pituitary": (5, 1, 4)},
        ["layout          Training is the training part, Testing is the test part, by name"],
    ),
    "chest_x_rays": (
        {"NORMAL": (8, 2, 5), "PNEUMONIA": (20, 2, 8)},
        ["train is the training part, val is the validation part, test is the test part, by name"],
    ),
    "ham10000": (
        {},
        [
            "image_id is the file, dx the label, lesion_id the group",
            "40 of 40 files were found by their names, in HAM10000_images_part_1 20, "
            "HAM10000_images_part_2 20",
            "not used        tables hmnist_8_8_L.csv",
        ],
    ),
    "isic": (
        {"BCC": (5, 1, 2), "MEL": (7, 1, 2), "NV": (17, 2, 5)},
        ["image is the file, MEL, NV, BCC, UNK hold 1 for the label"],
    ),
    "plant_leaves": (
        {"Potato___healthy": (5, 1, 2)},
        [
            "3 class folders in {root}/PlantVillage/PlantVillage, without parts",
            "3 files of other endings in class folders: .cr2 3 (Potato___healthy 3)",
        ],
    ),
    "strip_steel": (
        {"1": (9, 1, 2), "2": (4, 1, 1), "3": (17, 2, 5), "4": (5, 1, 2)},
        ["ImageId is the file, ClassId the label", "tables sample_submission.csv"],
    ),
    "twelve_bits": ({"normal": (14, 2, 4), "opacity": (7, 1, 2)}, ["2 class folders in {root}"]),
    "mac_zip": (
        {"daisy": (12, 1, 3), "rose": (5, 1, 2)},
        ["2 class folders in {root}/flowers of mine.zip/flowers of mine, without parts"],
    ),
}  # fmt: skip


def test_eight_layouts_are_held():
    assert WORDS.keys() == LAYOUTS.keys()


def rows_of(text):
    return {tuple(line.split()) for line in text.splitlines()}


@pytest.mark.parametrize("name", WORDS)
def test_the_report_tells_classes_parts_and_files_that_are_left(name, tmp_path, own_place):
    root = tmp_path / "set"
    root.mkdir()
    resolved = resolve(SMALL | LAYOUTS[name](root))
    text = "\n".join(load_data(resolved.config, bind(resolved.config)).report.lines())
    counts, lines = WORDS[name]
    for label, numbers in counts.items():
        assert (label, *map(str, numbers)) in rows_of(text), text
    for line in lines:
        assert line.format(root=root) in text, text
    assert ".DS_Store" not in text


@pytest.mark.slow
@pytest.mark.parametrize("name", WORDS)
def test_the_dry_run_and_a_training_of_two_epochs_say_the_same(
    name, tmp_path, own_place, command, make_store
):
    root = tmp_path / "set"
    root.mkdir()
    options = SMALL | LAYOUTS[name](root) | {"tracking_uri": make_store(tmp_path)}
    options |= {"epochs": "2", "analyses": "none", "system_metrics": "false"}
    words = [f"--{option}={value}" for option, value in options.items()]
    for done in (command("train", *words, "--dry_run", "true"), command("train", *words)):
        assert done.status == 0, done.err
        for line in WORDS[name][1]:
            assert line.format(root=root) in done.out, done.out
    (record,) = tiny.runs_of(options["tracking_uri"])
    assert "- layout: " in record.data.tags["mlflow.note.content"]
    files = [
        file.path
        for file in MlflowClient(options["tracking_uri"]).list_artifacts(record.info.run_id)
    ]
    assert "data_report.json" in files
    assert "Result on" in done.out
    assert "epoch 2/2" in done.err
