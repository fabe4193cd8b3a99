"""Runs that start from trained weights, from Config to result."""

from pathlib import Path

import pytest
import torch

from imbalance_study.config.resolve import make
from imbalance_study.experiment import run as experiment
from imbalance_study.experiment.setup.inputs import load_inputs
from imbalance_study.experiment.setup.model import build_model
from imbalance_study.inference import load as trained
from imbalance_study.models import checkpoint

SMALL = {
    "dataset": "digits",
    "model": "resnet20",
    "epochs": 2,
    "steps_per_epoch": 3,
    "analyses": "none",
}


def _run(folder, **options):
    config = make(**SMALL | options)
    return experiment.run(config, output_dir=folder, show_progress=False, draw=False)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A run on digits at 8 px, and its checkpoint."""
    folder = tmp_path_factory.mktemp("source")
    result = _run(folder, image_size=8, steps_per_epoch=8, epochs=2, seed=5)
    return result, str(folder / "best.pt")


def _state(result, name="last"):
    return checkpoint.load(result.checkpoints[name])["model"]


FROZEN = {
    "head_only": lambda name: name.startswith("backbone."),
    "partial:blocks=1": lambda name: name.startswith("backbone.") and "layer3.2" not in name,
    "gradual:start=0.9,end=1": lambda name: name.startswith("backbone."),
}


ADAMW = {"optimizer": "adamw", "weight_decay": 0.1, "ema": True}
SGD = {"optimizer": "sgd:momentum=0.9,sam=0.05", "weight_decay": 0.1, "mix": "mixup"}


@pytest.mark.parametrize(
    ("freeze", "how"),
    [
        ("head_only", ADAMW),
        ("partial:blocks=1", SGD),
        pytest.param("head_only", SGD, marks=pytest.mark.slow),
        pytest.param("partial:blocks=1", ADAMW, marks=pytest.mark.slow),
        pytest.param("gradual:start=0.9,end=1", ADAMW, marks=pytest.mark.slow),
        pytest.param("gradual:start=0.9,end=1", SGD, marks=pytest.mark.slow),
    ],
)
def test_frozen_weights_and_statistics_are_bit_equal_before_and_after(
    source, tmp_path, freeze, how
):
    result = _run(tmp_path, weights=source[1], freeze=freeze, **how)
    before = _state(source[0], "best")
    for kept in ("best", "last"):
        after = _state(result, kept)
        for name, value in before.items():
            if "num_batches" not in name:
                assert torch.equal(value, after[name]) is FROZEN[freeze](name), (kept, name)


def test_a_moved_backbone_is_not_frozen_and_the_head_learns_faster(source, tmp_path):
    """With plain SGD and one step, weights move by their own learning rate times the gradient."""
    options = {"optimizer": "sgd:momentum=0,nesterov=false", "weight_decay": 0, "epochs": 1}
    options |= {"weights": source[1], "steps_per_epoch": 1, "schedule": "constant"}
    before = _state(source[0], "best")
    moved = {}
    for share in (1.0, 0.1):
        after = _state(_run(tmp_path, backbone_lr=share, **options))
        moved[share] = {
            name: (after[name] - before[name]).norm() for name in before if "weight" in name
        }
    for name in moved[1.0]:
        ratio = moved[0.1][name] / moved[1.0][name]
        assert ratio == pytest.approx(1.0 if name.startswith("classifier") else 0.1, rel=0.02), name


def test_size_normalisation_and_head_come_from_the_source_and_are_on_record(source, tmp_path):
    result = _run(tmp_path, weights=source[1], freeze="partial:blocks=2")
    facts, theirs = result.facts, source[0].facts
    assert facts.image_size == 8
    assert (facts.mean, facts.std) == (theirs.mean, theirs.std)
    assert facts.weights["head"] == "loaded"
    assert (facts.weights["new"], facts.weights["left"]) == ([], [])
    assert facts.weights["loaded"] == 97
    assert facts.parameters == facts.trainable_parameters + facts.frozen_parameters
    assert facts.trainable_from_epoch == {"1": facts.trainable_parameters}
    assert 0 < facts.trainable_parameters < facts.parameters


def test_what_is_set_wins_over_the_source(source, tmp_path):
    result = _run(
        tmp_path, weights=source[1], image_size=16, normalisation="imagenet", head="mlp:hidden=8"
    )
    assert result.facts.image_size == 16
    assert result.facts.mean == pytest.approx([0.485, 0.456, 0.406])
    assert result.facts.weights["head"] == "new: another kind of head"
    own = _run(tmp_path, weights=source[1], normalisation="data", data_seed=3)
    assert own.facts.mean != source[0].facts.mean


def test_a_model_with_other_classes_gets_a_new_head(source, tmp_path):
    folder = tmp_path / "images"
    from PIL import Image

    generator = torch.Generator().manual_seed(0)
    for label in ("cat", "dog", "owl"):
        (folder / label).mkdir(parents=True)
        for number in range(12):
            pixels = torch.randint(0, 255, (16, 16, 3), generator=generator, dtype=torch.uint8)
            Image.fromarray(pixels.numpy()).save(folder / label / f"{number}.png")
    result = _run(
        tmp_path,
        dataset="imagefolder",
        data_dir=str(folder),
        cache_dir=str(tmp_path / "cache"),
        weights=source[1],
        batch_size=8,
    )
    assert result.facts.weights["head"] == "new: other classes"
    assert result.facts.weights["new"] == ["classifier.weight", "classifier.bias"]
    assert result.facts.image_size == 8
    assert _state(result)["classifier.weight"].shape == (3, 64)


def test_a_fine_tuned_model_is_rebuilt_as_it_was(source, tmp_path):
    result = _run(tmp_path, weights=source[1], head="mlp:hidden=8", freeze="head_only")
    ready = trained.from_checkpoint(tmp_path / "best.pt")
    assert ready.image_size == 8
    images = torch.from_numpy(result.data.image_set.images[result.data.split.test[:6]])
    with torch.inference_mode():
        logits = ready.model(ready.normalise(images.permute(0, 3, 1, 2)))
    torch.testing.assert_close(
        logits, torch.from_numpy(result.test.logits[:6]), atol=1e-4, rtol=1e-4
    )


def test_the_same_seed_gives_the_same_fine_tuning(source, tmp_path):
    options = {"weights": source[1], "freeze": "gradual:start=0,end=0.5", "epochs": 3}
    one, two = (_run(tmp_path, **options) for _ in range(2))
    assert one.facts.trainable_from_epoch.keys() == {"1", "2", "3"}
    states = _state(one), _state(two)
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "no/such/file.pt"}, "weights must be none, imagenet, runs:/ID or a file"),
        ({"model": "resnet32"}, "holds resnet20, not model=resnet32"),
        ({"model": "resnet18"}, "holds resnet20, not model=resnet18"),
        ({"weights": "runs:/abc"}, "whose checkpoint must be downloaded first"),
        ({"weights": "imagenet"}, "no ImageNet weights of model='resnet20'"),
    ],
)
def test_weights_that_cannot_be_used_are_one_line(source, tmp_path, options, message):
    with pytest.raises(ValueError, match=message) as error:
        _run(tmp_path, **{"weights": source[1]} | options)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_damaged_checkpoint_is_one_line_and_writes_nothing(source, tmp_path):
    content = bytearray(Path(source[1]).read_bytes())
    content[len(content) // 2] ^= 255
    (tmp_path / "damaged.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged.pt is not a checkpoint, or it is damaged"):
        _run(tmp_path / "out", weights=str(tmp_path / "damaged.pt"))
    assert not (tmp_path / "out").exists()


def test_a_file_without_tensors_is_no_weights(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"x.pt holds no weights: there is no tensor in it"):
        _run(tmp_path / "out", weights=str(tmp_path / "x.pt"))


def test_weights_that_would_be_frozen_at_random_are_refused(tmp_path):
    from torchvision.models import resnet18

    torch.save(resnet18(num_classes=5).state_dict(), tmp_path / "plain.pth")
    options = {"model": "resnet18", "image_size": 32, "weights": str(tmp_path / "plain.pth")}
    config = make(**SMALL | options | {"stem": "small", "freeze": "head_only"})
    inputs = load_inputs(config)
    with pytest.raises(ValueError, match=r"would freeze conv1.weight, which the weights do not"):
        build_model(inputs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"freeze": "head_only"}, "without weights they are random"),
        ({"freeze": "some", "weights": "imagenet"}, "unknown freeze 'some'; known: none, head_o"),
        (
            {"freeze": "head_only", "weights": "imagenet", "backbone_lr": 0.1},
            "backbone_lr has no effect with freeze=head_only",
        ),
        ({"head": "cosine"}, "head=cosine gives cosines, .* use loss=ldam, or head=cosine:scale"),
        ({"head": "cosine:scale=16", "loss": "ldam"}, "scales the cosines itself"),
        ({"head": "mlp", "loss": "ldam"}, "needs head=cosine"),
        ({"autoencoder": "joint"}, "needs a model with a decoder .* got model=resnet20"),
        (
            {"model": "unet", "autoencoder": "separate", "stage2": "crt"},
            "is a training in two stages itself",
        ),
        ({"model": "unet", "autoencoder": "separate", "lr": "auto"}, "lr=auto tests one training"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make(**SMALL | options)


def test_a_learning_rate_that_was_found_gives_the_run_with_that_rate(tmp_path):
    small = {"image_size": 8, "batch_size": 8, "ema": True, "augment": "crop:padding=1"}
    small |= {"model": "small_nets:conv"}
    found = _run(tmp_path / "a", lr="auto", **small)
    rate = found.facts.lr
    given = _run(tmp_path / "b", lr=rate, **small)
    assert "lr_range_test" not in found.figures  # it is told at epoch 0
    states = _state(found), _state(given)
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert found.history[-1].metrics["train/loss"] == given.history[-1].metrics["train/loss"]
