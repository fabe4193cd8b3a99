import pytest

from imbalance_study.config.resolve import resolve
from imbalance_study.experiment import dry_run

SMALL = {"dataset": "digits", "model": "resnet20", "image_size": "8", "epochs": "3"}


def _line(text, name):
    """The last line of this name: those of the options come first."""
    found = [line for line in text.splitlines() if line.startswith(name + " ")]
    return " ".join(found[-1].split())


@pytest.fixture(scope="module")
def text():
    """The description of a small training."""
    return dry_run.describe(resolve(SMALL | {"batch_size": "auto", "device": "cpu"}))


def test_each_option_stands_with_its_value_and_its_origin(text):
    assert _line(text, "epochs") == "epochs 3 given"
    assert _line(text, "loss").endswith("default")


def test_the_steps_are_those_of_the_images_that_the_sampler_draws(text):
    images = int(_line(text, "images").split()[1].replace(",", ""))
    steps = -(-images // 32)
    assert _line(text, "steps") == (
        f"steps {steps} an epoch, {3 * steps} in all ({images:,} images an epoch)"
    )


def test_device_counts_time_and_memory_are_named(text):
    assert _line(text, "device") == "device cpu, fp32, channels_last"
    assert "(ratio 1" in _line(text, "class counts")
    assert _line(text, "estimated time").endswith("of training")
    assert "GiB" in _line(text, "estimated memory")
    assert "weights  " not in text.partition("device   ")[2]


def test_fixed_steps_and_a_second_stage_are_counted():
    given = {"steps_per_epoch": "5", "batch_size": "10", "stage2": "crt:epochs=4"}
    text = dry_run.describe(resolve(SMALL | given))
    assert _line(text, "steps") == "steps 5 an epoch, 15 in all (50 images an epoch)"
    assert _line(text, "second stage").startswith("second stage 4 epochs of")


def test_a_recipe_of_another_model_says_so():
    text = dry_run.describe(resolve(SMALL | {"recipe": "paper_ce", "batch_size": "16"}))
    assert "resnet32" in text.splitlines()[-1]
