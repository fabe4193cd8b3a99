import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from imbalance_study.experiment.setup import features
from imbalance_study.experiment.setup.data import DataCache, parts_of
from imbalance_study.experiment.setup.device import CPU
from imbalance_study.experiment.setup.inputs import LocalFiles
from imbalance_study.models.classifier import Classifier

FROZEN = {"freeze": "head_only", "weights": "weights.pt"}


@pytest.fixture
def passed(make_inputs, make_model, tmp_path):
    """A function that gives the features of a run with some options, and how it was made."""

    def make_it(model=None, cache=None, **options):
        inputs = make_inputs(**FROZEN | {"cache_dir": str(tmp_path)} | options)
        images = parts_of(inputs.data, inputs.config, CPU.device)
        local = LocalFiles(data_cache=cache)
        return features.of(inputs, model or make_model(), images, local)

    return make_it


def test_a_run_on_images_has_no_features(passed):
    assert passed(space="pixels") is None


def test_each_part_has_the_features_and_labels_of_its_images(passed, make_inputs, make_model):
    found = passed()
    inputs = make_inputs(**FROZEN)
    images = parts_of(inputs.data, inputs.config, CPU.device)
    for part, own in zip(found.parts, images, strict=True):
        assert part.targets.tolist() == own.targets.tolist()
        assert part.read(np.arange(len(part))).shape == (len(own), 4)
    assert features.describe(found) == {"read": False, "seconds": found.seconds}


def test_the_images_of_a_run_on_features_are_not_copied_into_memory(make_inputs):
    inputs = make_inputs(**FROZEN, resident="true")
    assert not parts_of(inputs.data, inputs.config, CPU.device).train.resident


def test_features_are_read_by_another_process_and_shared_within_one(passed):
    cache = DataCache()
    first, same, other = passed(cache=cache), passed(cache=cache), passed()
    assert [one.read for one in (first, same, other)] == [False, True, True]
    assert same.parts.train is first.parts.train
    assert other.parts.train is not first.parts.train


def test_another_scale_precision_or_order_in_memory_is_computed_anew(make_inputs, make_model):
    inputs, model = make_inputs(**FROZEN), make_model()
    data, machine = inputs.data, inputs.device_setup

    def names(**changes):
        return features._Passes(
            dataclasses.replace(inputs, **changes), model, DataCache()
        )._backbone

    found = [
        names(),
        names(data=data._replace(mean=data.mean + 0.01)),
        names(data=data._replace(std=data.std + 0.01)),
        names(device_setup=machine._replace(precision="bf16")),
        names(device_setup=machine._replace(channels_last=not machine.channels_last)),
    ]
    assert len({str(one) for one in found}) == len(found)


def test_other_weights_are_computed_anew(passed, make_model):
    assert not passed().read
    assert passed().read
    assert not passed(model=make_model(seed=1)).read


def test_other_pixels_are_computed_anew(passed, make_data, make_inputs, make_model, tmp_path):
    assert not passed().read
    data = make_data()
    data.image_set.images[0, 0, 0, 0] ^= 1
    inputs = make_inputs(data, **FROZEN, cache_dir=str(tmp_path))
    images = parts_of(data, inputs.config, CPU.device)
    assert not features.are_kept(inputs, make_model(), images)
    found = features.of(inputs, make_model(), images, None)
    assert not found.read  # the training part; test and validation are those of before


def test_smote_makes_rows_of_the_training_part_alone(passed):
    plain, made = passed(), passed(resample="smote:k=1")
    assert np.bincount(made.parts.train.targets).tolist() == [12, 12, 12]
    assert len(made.parts.test) == len(plain.parts.test)
    assert made.read  # from the same file


def test_views_are_rows_of_the_training_part_alone(passed):
    found = passed(augment="crop", feature_views=3, tail_augment="trivial")
    assert len(found.parts.train) == 3 * 21
    assert found.parts.train.targets[:6].unique().tolist() == [0]
    assert len(found.parts.val) == 6


def test_a_second_stage_pays_where_nothing_is_drawn_anew(make_inputs):
    def pays(**options):
        return features.second_stage_pays(make_inputs(**options))

    plain = {"augment": "none", "stage2": "crt"}
    assert pays(**plain)
    assert pays(**plain | {"mix": "mixup"})  # of the first stage
    assert not pays(**plain | {"augment": "crop"})
    assert not pays(**plain | {"tail_augment": "trivial"})
    assert not pays(augment="none")
    assert not pays(**plain | {"stage2": "crt:epochs=1"})
    assert not pays(**plain | {"stage2": "las:shift_bn=true"})


def test_a_fit_of_the_head_gets_the_weights_of_the_backbone(make_model, make_setup, make_stage):
    model = make_model()
    head = {name: value + 1 for name, value in model.on_features().state_dict().items()}
    fitted = make_stage(make_setup()).fit._replace(best=head, last=head)
    whole = features.with_backbone(model, fitted).best
    assert list(whole) == list(model.state_dict())
    assert torch.equal(whole["backbone.0.weight"], model.backbone[0].weight)
    assert torch.equal(whole["classifier.bias"], model.classifier.bias + 1)


def test_the_code_of_a_users_own_model_names_its_features(make_inputs, tmp_path, monkeypatch):
    source = "def net(num_classes):\n    return None\n"
    (tmp_path / "own_net.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    assert features._code("resnet20") == ""
    assert len(features._code("own_net:net")) == 64


def test_features_computed_in_memory_are_those_of_the_images(make_setup):
    body = [nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)]
    model = Classifier(nn.Sequential(*body), image_size=8)
    setup = make_setup(net=model)
    found = features.in_memory(setup, setup.procedure, model, setup.parts)
    batch = setup.parts.val.take(torch.arange(6))
    with torch.inference_mode():
        expected = model.forward_features(setup.procedure.normalise(batch.images))
    rows = found.parts.val.read(np.arange(6))
    torch.testing.assert_close(torch.from_numpy(rows), expected)
