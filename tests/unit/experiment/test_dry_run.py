import pytest

from imbalance_study.config.resolve import resolve
from imbalance_study.experiment import dry_run
from imbalance_study.experiment.run import run

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
    assert _line(text, "estimated time").endswith("of training, measured on updates of 32 images")
    assert _line(text, "estimated memory").endswith("optimizer and activations of 32 images")
    assert "weights  " not in text.partition("device   ")[2]


def test_fixed_steps_and_a_second_stage_are_counted():
    given = {"steps_per_epoch": "5", "batch_size": "10", "stage2": "crt:epochs=4"}
    text = dry_run.describe(resolve(SMALL | given))
    assert _line(text, "steps") == "steps 5 an epoch, 15 in all (50 images an epoch)"
    assert _line(text, "second stage").startswith("second stage 4 epochs of")


def test_a_recipe_of_another_model_says_so():
    text = dry_run.describe(resolve(SMALL | {"recipe": "paper_ce", "batch_size": "16"}))
    assert "resnet32" in text.splitlines()[-1]


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    """A function that describes the training of a head with some options."""
    folder = tmp_path_factory.mktemp("weights")
    config = resolve(SMALL | {"epochs": "1", "steps_per_epoch": "1", "analyses": "none"}).config
    found = run(config, output_dir=folder, show_progress=False, draw=False)
    given = {"weights": str(found.checkpoints["best"]), "freeze": "head_only", "device": "cpu"}
    given["cache_dir"] = str(folder)

    def describe(**options):
        return dry_run.describe(resolve(SMALL | given | options))

    describe.train = lambda: run(
        resolve(SMALL | given | {"analyses": "none"}).config,
        output_dir=folder, show_progress=False, draw=False,
    )  # fmt: skip
    return describe


def test_a_frozen_backbone_says_whether_its_features_are_computed_or_read(frozen):
    first = frozen()
    assert _line(first, "features").startswith("features computed once, then kept: ")
    assert _line(first, "features").endswith("measured on 16 images")
    assert _line(first, "augment") == "augment none freeze"
    assert _line(first, "space") == "space features freeze"
    assert _line(first, "estimated time").endswith("measured on updates of 32 feature vectors")
    assert _line(first, "estimated memory").endswith("optimizer and features")
    frozen.train()
    assert _line(frozen(), "features") == "features read from the cache"


def test_a_given_augmentation_says_what_kept_features_would_save(frozen):
    line = _line(frozen(augment="crop:padding=2"), "features")
    assert "as augment=crop:padding=2 draws images anew; without that (or with feature_view" in line
    assert line.endswith("s for the features, measured on 16 images")
    line = _line(frozen(space="pixels"), "features")
    assert line.startswith("features computed in each epoch, as space=pixels asks; space=features")


def test_the_epochs_of_smote_on_features_are_counted(frozen):
    plain, made = frozen(), frozen(resample="smote:k=2")
    images = int(_line(made, "steps").split("(")[1].split()[0].replace(",", ""))
    most = int(_line(plain, "class counts").split()[2].replace(",", ""))
    assert images == 10 * most
