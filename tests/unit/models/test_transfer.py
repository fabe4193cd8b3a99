import pytest
import torch

from imbalance_study.models import transfer, zoo


def _model(name="resnet20", classes=3, head="last"):
    torch.manual_seed(classes)
    return zoo.create(name, classes, image_size=32, head=head)


def test_everything_is_loaded_into_the_same_model_and_its_head_when_the_classes_are_the_same():
    source, target = _model(), _model(classes=3)
    torch.nn.init.normal_(target.classifier.weight)
    names = ["cat", "dog", "owl"]
    found = transfer.load(target, source.state_dict(), "x", source_classes=names, class_names=names)
    assert (found.head, found.new, found.left) == ("loaded", [], [])
    for name, value in source.state_dict().items():
        assert torch.equal(value, target.state_dict()[name]), name


def test_the_rows_of_the_head_follow_the_names_of_the_classes():
    source, target = _model(), _model()
    found = transfer.load(
        target,
        source.state_dict(),
        "x",
        source_classes=["cat", "dog", "owl"],
        class_names=["owl", "cat", "dog"],
    )
    assert found.head == "loaded, classes in another order"
    assert torch.equal(target.classifier.weight, source.classifier.weight[[2, 0, 1]])
    assert torch.equal(target.classifier.bias, source.classifier.bias[[2, 0, 1]])


def test_only_the_last_layer_of_a_larger_head_has_rows_for_classes():
    source, target = (_model(head="mlp:hidden=3") for _ in range(2))
    torch.nn.init.normal_(target.classifier[0].weight)
    transfer.load(
        target,
        source.state_dict(),
        "x",
        source_classes=["cat", "dog", "owl"],
        class_names=["owl", "cat", "dog"],
    )
    assert torch.equal(target.classifier[0].weight, source.classifier[0].weight)
    assert torch.equal(target.classifier[3].weight, source.classifier[3].weight[[2, 0, 1]])


@pytest.mark.parametrize(
    ("theirs", "head", "why"),
    [
        (["cat", "dog", "fox"], "last", "new: other classes"),
        (["cat", "dog"], "last", "new: other classes"),
        (["cat", "dog", "owl"], "mlp", "new: another kind of head"),
    ],
)
def test_the_head_stays_as_it_was_drawn_when_classes_or_kind_differ(theirs, head, why):
    source, target = _model(classes=len(theirs)), _model(head=head)
    before = {name: value.clone() for name, value in target.classifier.state_dict().items()}
    found = transfer.load(
        target,
        source.state_dict(),
        "x",
        source_classes=theirs,
        class_names=["cat", "dog", "owl"],
    )
    assert found.head == why
    assert found.new == [f"classifier.{name}" for name in before]
    assert {"classifier.weight", "classifier.bias"} == set(found.left)
    for name, value in before.items():
        assert torch.equal(value, target.classifier.state_dict()[name])
    assert torch.equal(source.backbone.conv1.weight, target.backbone.conv1.weight)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("resnet32", "resnet20"),
        ("resnet20", "resnet32"),
        ("resnet56", "resnet44"),
        ("resnet18", "resnet20"),
        ("custom_cnn:se=true", "custom_cnn"),
    ],
)
def test_weights_of_another_architecture_are_refused_and_nothing_is_loaded(theirs, ours):
    target = _model(ours)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with pytest.raises(ValueError, match=r"^best.pt holds the weights of another model: \d+ of"):
        transfer.load(target, _model(theirs).state_dict(), "best.pt")
    assert all(torch.equal(value, target.state_dict()[name]) for name, value in before.items())


def test_another_stem_is_new_and_said_to_be():
    source = zoo.create("resnet18", 3, image_size=64, stem="imagenet")
    target = zoo.create("resnet18", 3, image_size=64, stem="small")
    found = transfer.load(target, source.state_dict(), "x")
    assert found.new == ["backbone.conv1.weight", "classifier.weight", "classifier.bias"]
    assert "backbone.conv1.weight" in found.left


def test_a_state_of_torchvision_goes_in_under_its_own_names():
    from torchvision.models import mobilenet_v3_large

    network = mobilenet_v3_large(num_classes=7)
    target = zoo.create("mobilenet_v3_large", 3, image_size=64, stem="imagenet")
    found = transfer.load(target, network.state_dict(), "x")
    assert found.new == ["classifier.weight", "classifier.bias"]
    assert torch.equal(target.backbone.classifier[0].weight, network.classifier[0].weight)


def _foreign_names(state):
    """The same tensors as another implementation names them, their last parts kept."""
    ends = [name.rpartition(".")[2] for name in state]
    return {
        f"layer{number}.{end}": value
        for number, (end, value) in enumerate(zip(ends, state.values(), strict=True))
    }


def test_weights_of_other_names_are_matched_by_order_and_that_is_said():
    source, target = _model(), _model(classes=4)
    found = transfer.load(target, _foreign_names(source.state_dict()), "x")
    assert found.by_order
    assert found.new == ["classifier.weight", "classifier.bias"]
    for name, value in source.backbone.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(value, target.backbone.state_dict()[name]), name


def test_weights_of_other_names_without_a_head_are_matched_too():
    source, target = _model(), _model()
    state = {f"backbone.{name}": value for name, value in source.backbone.state_dict().items()}
    found = transfer.load(target, _foreign_names(state), "x")
    assert found.by_order
    assert found.new == ["classifier.weight", "classifier.bias"]


def test_other_names_in_another_order_or_of_another_network_are_refused():
    state = _foreign_names(_model().state_dict())
    swapped = dict(reversed(state.items()))
    for other in (swapped, _foreign_names(_model("resnet32").state_dict())):
        with pytest.raises(ValueError, match="holds the weights of another model"):
            transfer.load(_model(), other, "x")


def test_a_few_names_that_agree_do_not_hinder_the_match_by_order():
    source, target = _model(), _model(classes=4)
    state = source.state_dict()
    renamed = _foreign_names(state)
    shared = list(state)[:6]
    mixed = dict(zip([*shared, *list(renamed)[6:]], state.values(), strict=True))
    found = transfer.load(target, mixed, "x")
    assert found.by_order
    assert found.new == ["classifier.weight", "classifier.bias"]
    assert torch.equal(target.backbone.conv1.weight, source.backbone.conv1.weight)
