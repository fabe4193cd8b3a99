import importlib.util
import subprocess
import sys

import pytest
import torch

from imbalance_study.evaluation import attribution
from imbalance_study.evaluation.token_maps import as_maps
from imbalance_study.models import freezing, imagenet, pretrained, profiling, zoo

# A small member of each kind, and the size of its images.
KINDS = {
    "timm/test_resnet": 32,
    "timm/test_convnext": 32,
    "timm/test_vit": 64,
    "timm/swin_tiny_patch4_window7_224": 64,
    "timm/vit_tiny_patch16_224": 64,
    "timm/mobilenetv3_small_050": 64,  # its num_features is not the width of its head
    "timm/dla46_c": 64,  # its head is a convolution
}
QUICK = ("timm/test_vit",)


def _seeded(text, num_classes=5, image_size=64, **how):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return zoo.create(text, num_classes, image_size=image_size, **how)


def _images(size, count=2):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in KINDS],
)
def model(request):
    return _seeded(request.param, image_size=KINDS[request.param])


def test_a_model_of_timm_is_cut_before_its_last_linear(model):
    images, head = _images(model.image_size), model.eval().get_classifier()
    with torch.no_grad():
        features = model.forward_features(images)
        assert features.shape == (2, model.num_features)
        assert isinstance(head, torch.nn.Linear)
        torch.testing.assert_close(model(images), head(features))
    assert model.stem == "imagenet"


def test_its_costs_are_counted_and_its_blocks_are_frozen_one_by_one(model):
    assert profiling.macs(model, model.image_size) > 1e5
    assert profiling.estimate_training_memory(model, model.image_size, 4) > 0
    assert len(freezing.blocks_of(model)) >= 3


def test_grad_cam_finds_maps_of_4x4_in_it_whatever_carries_them(model):
    layer = model.cam_layers[-1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.nn.init.normal_(model.classifier.weight)  # some heads begin at zero
    maps = attribution.grad_cam(model, _images(model.image_size), [0, 1], layer)
    assert maps.shape[0] == 2
    assert 4 <= maps.shape[1] == maps.shape[2] <= 8
    assert maps.max() > 0
    shown, _ = attribution.feature_maps(model, _images(model.image_size), layer)
    assert shown.shape[-2:] == maps.shape[-2:]


def test_the_map_of_a_vision_transformer_shows_the_patch_that_decides():
    model = _seeded("timm/test_vit").eval()
    norm = model.get_submodule(model.cam_layers[-1])
    seen = []
    handle = norm.register_forward_hook(lambda _layer, _inputs, output: seen.append(output))
    image = torch.zeros(1, 3, 64, 64)
    image[:, :, 16:32, 32:48] = 3  # the patch in row 1, column 2
    with torch.no_grad():
        model(image)
        model(torch.zeros(1, 3, 64, 64))
    handle.remove()
    changed = (as_maps(seen[0]) - as_maps(seen[1])).abs().sum(1)[0]
    assert divmod(int(changed.argmax()), 4) == (1, 2)


def test_options_reach_the_model_and_the_tag_of_the_weights_may_be_named():
    model = _seeded("timm/test_vit.r160_in1k:drop_rate=0.2")
    assert model.backbone.head_drop.p == 0.2


@pytest.mark.parametrize(
    ("text", "size", "message"),
    [
        ("timm/resnet10", 32, "timm has no resnet10; it has timm/resnet10t, timm/resnet101"),
        ("timm/resnet10t.x", 32, "unknown weights 'x' of timm/resnet10t; timm has c3_in1k"),
        ("timm/test_vit", 40, "needs an image_size that is a multiple of 16, got 40"),
        ("timm/test_vit:drop_rate=1", 32, r"drop_rate of model .* must be in \[0, 1\), got 1"),
        ("timm/test_vit:dropout=0", 32, "no option 'dropout'; it takes: drop_rate, drop_path_rate"),
        (
            "timm/levit_128s",
            32,
            "has 2 heads \\(head.linear, head_dist.linear\\), and a model here",
        ),
        pytest.param("timm/levit_384_s8", 32, "has 2 heads", marks=pytest.mark.slow),
        ("timm/deit_tiny_distilled_patch16_224", 32, r"has 2 heads \(head, head_dist\)"),
    ],
)
def test_a_wrong_choice_is_refused_with_what_is_possible(text, size, message):
    with pytest.raises(ValueError, match=message):
        zoo.create(text, 5, image_size=size)


def test_a_small_stem_is_refused():
    with pytest.raises(ValueError, match="no small stem; use stem=auto or stem=imagenet"):
        zoo.create("timm/test_resnet", 5, image_size=32, stem="small")


def test_without_timm_the_message_names_the_extra(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "timm" else find(name)
    )
    with pytest.raises(ValueError, match=r"needs the package timm, .*'imbalance-study\[timm\]'"):
        zoo.create("timm/test_resnet", 5, image_size=32)


@pytest.mark.slow
def test_timm_is_not_imported_before_a_model_of_it_is_asked_for():
    code = (
        "import sys; from imbalance_study.models import zoo; "
        "assert not {'timm', 'huggingface_hub'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_timms_settings_give_size_scale_interpolation_and_class_names():
    found = imagenet.published("timm/test_vit")
    assert found.model == "timm/test_vit.r160_in1k"
    assert (found.image_size, found.mean, found.std) == (160, (0.5,) * 3, (0.5,) * 3)
    assert (found.interpolation, len(found.class_names)) == ("bicubic", 1000)
    assert found.class_names == imagenet.published("resnet18").class_names
    assert imagenet.published("timm/vgg11").interpolation == "bilinear"
    assert imagenet.published("timm/vit_small_patch14_dinov2").class_names == ()


def test_no_network_is_one_sentence_with_file_and_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    found = imagenet.published("timm/test_vit")._replace(url="http://127.0.0.1:9/model.safetensors")
    with pytest.raises(
        ValueError, match=r"weights of timm/test_vit\.r160_in1k cannot be"
    ) as refused:
        imagenet.weights_file(found)
    file = tmp_path / "hub" / "checkpoints" / "test_vit.r160_in1k.safetensors"
    assert f"copy that file to {file} (" in str(refused.value)


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """Weights of timm for 1,000 classes at 160 px, in torch's folder."""
    import timm
    from safetensors.torch import save_file

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = timm.create_model("test_vit")
        torch.nn.init.normal_(network.head.weight)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    save_file(network.state_dict(), folder / "test_vit.r160_in1k.safetensors")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return network


def test_weights_from_torchs_folder_make_the_same_network(stored):
    source = pretrained.find("imagenet", "timm/test_vit")
    model = _seeded("timm/test_vit", 1000, 160)
    loaded = pretrained.put_into(model, source, source.class_names)
    assert (loaded.head, loaded.new, loaded.left) == ("loaded", [], [])
    images = _images(160)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(images), stored.eval()(images))


@pytest.mark.slow
def test_position_embeddings_follow_the_size_of_the_images(stored, tmp_path):
    from timm.layers import resample_abs_pos_embed

    source = pretrained.find("imagenet", "timm/test_vit")
    model = _seeded("timm/test_vit", 3, 64)
    loaded = pretrained.put_into(model, source, ("a", "b", "c"))
    assert loaded.new == ["classifier.weight", "classifier.bias"]
    extra = model.backbone.num_prefix_tokens
    expected = resample_abs_pos_embed(stored.pos_embed, [4, 4], num_prefix_tokens=extra)
    torch.testing.assert_close(model.backbone.pos_embed, expected)
    facts = {"image_size": 64, "stem": "imagenet", "mean": [0.5] * 3, "std": [0.5] * 3}
    content = {
        "model": model.state_dict(),
        "config": {"model": "timm/test_vit.r160_in1k"},
        "facts": facts | {"class_names": ["a", "b", "c"]},
    }
    torch.save(content, tmp_path / "run.pt")
    larger = _seeded("timm/test_vit", 3, 96)
    of_run = pretrained.find(str(tmp_path / "run.pt"), "timm/test_vit")
    again = pretrained.put_into(larger, of_run, ("a", "b", "c"))
    assert (again.head, again.new) == ("loaded", [])
    assert torch.equal(larger.classifier.weight, model.classifier.weight)
    torch.testing.assert_close(
        larger.backbone.pos_embed,
        resample_abs_pos_embed(model.backbone.pos_embed, [6, 6], num_prefix_tokens=extra),
    )


@pytest.mark.slow
def test_weights_of_another_network_are_refused_with_the_count(stored):
    source = pretrained.find("imagenet", "timm/test_vit")
    with pytest.raises(ValueError, match=r"holds the weights of another model: .* fit"):
        pretrained.put_into(_seeded("timm/test_resnet"), source, ("a", "b", "c", "d", "e"))


@pytest.mark.slow
def test_a_head_that_is_a_convolution_is_loaded_into_the_linear(tmp_path):
    import timm

    with torch.random.fork_rng(devices=[]):
        network = timm.create_model("dla46_c", num_classes=3)
    torch.save(network.state_dict(), tmp_path / "x.pth")
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    file, names = str(tmp_path / "x.pth"), str(tmp_path / "names.txt")
    source = pretrained.find(file, "timm/dla46_c", class_names_file=names)
    model = _seeded("timm/dla46_c", 3)
    loaded = pretrained.put_into(model, source, ("a", "b", "c"))
    assert (loaded.head, loaded.new) == ("loaded", [])
    images = _images(64)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(images), network.eval()(images))
