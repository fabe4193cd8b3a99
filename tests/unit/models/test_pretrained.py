import pytest
import torch

from imbalance_study.models import checkpoint, pretrained, zoo

FACTS = {
    "stem": "small",
    "image_size": 12,
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.2, 0.2],
    "class_names": ["oak", "ash"],
}


@pytest.fixture
def model():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return zoo.create("resnet20", 2, image_size=12)


@pytest.fixture
def of_run(model, tmp_path):
    """The checkpoint of a run."""
    content = {"model": model.state_dict(), "config": {"model": "resnet20"}, "facts": FACTS}
    checkpoint.save(tmp_path / "best.pt", content)
    return tmp_path / "best.pt"


def test_no_weights_are_none():
    assert pretrained.find("none", "resnet20") is None


def test_a_checkpoint_of_a_run_says_what_it_was_trained_with(of_run):
    found = pretrained.find(str(of_run), "resnet20")
    assert (found.model, found.stem, found.image_size) == ("resnet20", "small", 12)
    assert found.mean == (0.5, 0.4, 0.3)
    assert found.class_names == ("oak", "ash")


def test_a_run_is_found_through_its_downloaded_file_alone(of_run, tmp_path):
    found = pretrained.find("runs:/12ab", "resnet20", of_run)
    assert (found.origin, found.path) == ("runs:/12ab", of_run)
    with pytest.raises(ValueError, match=r"weights=runs:/12ab names a run, .* as weights_file"):
        pretrained.find("runs:/12ab", "resnet20")
    with pytest.raises(ValueError, match="there is no such file"):
        pretrained.find("runs:/12ab", "resnet20", tmp_path / "gone.pt")


def test_a_file_that_is_not_there_and_another_model_are_refused(of_run):
    with pytest.raises(ValueError, match=r"must be none, imagenet, runs:/ID or a file, got 'x.pt'"):
        pretrained.find("x.pt", "resnet20")
    with pytest.raises(ValueError, match="holds resnet20, not model=resnet32"):
        pretrained.find(str(of_run), "resnet32")


def test_a_plain_file_of_a_torchvision_model_is_taken_for_torchvisions_own(tmp_path):
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "plain.pth")
    found = pretrained.find(str(tmp_path / "plain.pth"), "resnet18")
    assert (found.stem, found.image_size, found.assumed) == ("imagenet", 224, True)
    assert found.mean == pytest.approx((0.485, 0.456, 0.406))
    own = pretrained.find(str(tmp_path / "plain.pth"), "resnet20")
    assert (own.stem, own.image_size, own.mean) == ("auto", 0, ())


def test_the_weights_are_put_into_a_model_and_described(of_run, model):
    source = pretrained.find(str(of_run), "resnet20")
    with torch.random.fork_rng([]):
        other = zoo.create("resnet20", 2, image_size=12)
    loaded = pretrained.put_into(other, source, ("oak", "ash"))
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    record = pretrained.describe(source, loaded, "auto")
    assert record["head"] == "loaded"
    assert record["loaded"] == len(loaded.loaded)
    assert record["scale"] == "known"
    assert pretrained.in_words(record) == (
        f"{len(loaded.loaded)} tensors from {of_run}; head loaded"
    )


def test_a_line_names_four_of_the_tensors_that_are_new_or_left():
    record = {"loaded": 3, "from": "x.pt", "head": "new", "new": list("abcdef"), "left": ["g"]}
    assert pretrained.in_words(record) == (
        "3 tensors from x.pt; head new; new: a, b, c, d and 2 more; left: g"
    )


@pytest.mark.parametrize("key", ["model", "state_dict", None])
def test_tensors_are_found_in_any_of_the_usual_places(tmp_path, key):
    state = {"a": torch.ones(2), "epoch": 3}
    torch.save(state if key is None else {key: state, "epoch": 3}, tmp_path / "x.pt")
    assert list(pretrained.state_of(tmp_path / "x.pt")) == ["a"]


def test_a_file_without_tensors_holds_no_weights(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"x.pt holds no weights: there is no tensor in it"):
        pretrained.state_of(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("config", "facts", "stem"),
    [
        ({"model": "resnet18", "stem": "auto"}, {"stem": "imagenet"}, "imagenet"),
        ({"model": "resnet20", "stem": "auto"}, {}, "auto"),
        ({"model": "my.net:make", "stem": "auto"}, {}, "auto"),
        ({"model": "resnet18", "stem": "auto"}, {"image_size": 32}, "small"),
    ],
)
def test_the_stem_of_a_run_of_before_follows_from_its_size(config, facts, stem):
    assert pretrained.stem_of(config, facts) == stem


def _loaded():
    return pretrained.transfer.Loaded(["a"], [], [], "new: other classes")


def _doubts(source, normalisation="auto"):
    return pretrained.doubts(pretrained.describe(source, _loaded(), normalisation))


def test_weights_without_a_known_scale_say_so_unless_the_scale_is_given(tmp_path):
    unknown = pretrained.Source("x.pt", tmp_path)
    (doubt,) = _doubts(unknown)
    assert doubt.startswith("the scale of the pixels that the weights expect is unknown: the imag")
    assert "set normalisation=values:mean=M,std=S" in doubt
    assert _doubts(unknown, "values:mean=0.5,std=0.5") == []
    assert _doubts(unknown, "data") == []
    line = pretrained.in_words(pretrained.describe(unknown, _loaded(), "auto"))
    assert line == f"1 tensors from x.pt; head new: other classes; {doubt}"


def test_an_assumed_scale_is_named_with_its_numbers(tmp_path):
    assumed = pretrained.Source(
        "x.pt", tmp_path, mean=(0.5,) * 3, std=(0.229, 0.224, 0.225), assumed=True
    )
    (doubt,) = _doubts(assumed)
    assert "mean 0.5 and deviation 0.229/0.224/0.225 are assumed" in doubt
    assert _doubts(assumed, "imagenet") == []
    assert _doubts(assumed._replace(assumed=False)) == []


def test_images_that_were_resized_in_another_way_are_said_to_be(tmp_path):
    source = pretrained.Source("x", tmp_path, mean=(0.5,) * 3, std=(0.5,) * 3)

    def line(interpolation):
        of_them = source._replace(interpolation=interpolation)
        return pretrained.in_words(pretrained.describe(of_them, _loaded(), "auto"))

    assert "trained on images resized by bilinear interpolation, where these are by" in line(
        "bilinear"
    )
    assert line("bicubic") == line("") == "1 tensors from x; head new: other classes"


def test_a_file_names_the_classes_of_plain_weights_and_so_the_head_is_kept(model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "plain.pt")
    (tmp_path / "names.txt").write_text("oak\n\nash\n")
    source = pretrained.find(
        str(tmp_path / "plain.pt"), "resnet20", class_names_file=str(tmp_path / "names.txt")
    )
    with torch.random.fork_rng([]):
        other = zoo.create("resnet20", 2, image_size=12)
    loaded = pretrained.put_into(other, source, ("ash", "oak"))
    assert loaded.head == "loaded, classes in another order"
    assert torch.equal(other.classifier.weight, model.classifier.weight[[1, 0]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "weights_classes must be a text file with a class name a line, got "),
        (b"\xff\xfe\x00", "weights_classes must be a text file with a class name a line, got "),
        (b"oak\n", "weights_classes must have a class name a line, got 1 names"),
        (b"oak\nash\nelm\n", "the head of .*plain.pt has 2 classes, and there are 3 class names"),
    ],
)
def test_class_names_that_do_not_fit_are_refused(model, tmp_path, content, message):
    torch.save(model.state_dict(), tmp_path / "plain.pt")
    if content is not None:
        (tmp_path / "names.txt").write_bytes(content)
    weights, names = str(tmp_path / "plain.pt"), str(tmp_path / "names.txt")
    with pytest.raises(ValueError, match=message):
        pretrained.put_into(
            model, pretrained.find(weights, "resnet20", class_names_file=names), ("oak", "ash")
        )


def test_class_names_for_a_checkpoint_that_has_its_own_are_refused(of_run, tmp_path):
    with pytest.raises(ValueError, match=r"weights_classes has no effect with .*of its own"):
        pretrained.find(str(of_run), "resnet20", class_names_file=str(tmp_path / "names.txt"))
