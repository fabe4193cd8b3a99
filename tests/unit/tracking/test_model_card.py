from imbalance_study.tracking import model_card


def _evidence(names, **fields):
    count = len(names)
    facts = {
        "class_names": names,
        "image_size": 64,
        "images": {"train": 3 * count, "val": 0, "test": count},
        "train_counts": [3] * count,
        "fingerprint": {"fingerprint": "abc"},
        "skipped_images": ["a.png"],
    }
    per_class = {
        "class": names,
        "train_count": [3] * count,
        "test_count": [100] * (count - 1) + [0],
        "recall": [0.0, *[1.0] * (count - 2), None],
    }
    given = {
        "run_id": "1",
        "config": {"model": "resnet18", "dataset": "mine", "imbalance": "none"},
        "resolved": facts,
        "metrics": {"test/accuracy": 0.5},
        "per_class": per_class,
        "environment": {"imbalance_study": "0.1.0", "torch": "2"},
        "command": "imbalance-study train",
    }
    return model_card.Evidence(**given | fields)


def test_the_card_names_data_quality_and_limits():
    text = model_card.write(_evidence(["cat", "dog", "a | b"]))
    assert text.startswith("# resnet18 on mine\n")
    assert "Gives one of 3 classes to an image: cat, dog, a \\| b." in text
    assert "| accuracy | &emsp;0.500 | &emsp; |" in text
    assert "Fingerprint `abc`. 1 unreadable files were left out." in text
    assert "| cat | &emsp;3 | &emsp;100 | &emsp;0.00 | &emsp;0.00 to 0.04 |" in text
    assert "| a \\| b | &emsp;3 | &emsp;0 | &emsp;- | &emsp;- |" in text
    assert "- Fewer than 100 training images: cat (3), dog (3), a \\| b (3)." in text
    assert "- May miss half of the images or more of: cat." in text
    assert "- Hardly tested, with fewer than 30 test images: a \\| b." in text
    assert "`imbalance-study train`" in text


def test_an_undefined_metric_is_a_dash_without_an_interval():
    nan = float("nan")
    metrics = {"test/medium_recall": nan}
    metrics |= {f"test_ci/medium_recall_{end}": nan for end in ("low", "high")}
    metrics |= {
        "test_calibration/ece": 0.1,
        "test_calibration/confidence_right_mean": nan,
        "test_calibration/confidence_wrong_mean": 0.6,
    }
    text = model_card.write(_evidence(["a", "b"], metrics=metrics))
    assert "| recall, middle third | &emsp;- | &emsp; |" in text
    assert "it is - in the mean where the model is right, 60.0%" in text
    assert "nan" not in text


def test_a_model_of_one_answer_is_called_that():
    def said(recall):
        table = {"class": list("abc"), "train_count": [9] * 3, "test_count": [5] * 3}
        evidence = _evidence(list("abc"), per_class=table | {"recall": recall})
        return "- It gave all test images the class b." in model_card.write(evidence)

    assert said([0.0, 1.0, 0.0])
    assert said([0.0, 1.0, None])
    assert not said([0.2, 1.0, 0.0])
    assert not said([None, 1.0, None])  # one class alone was tested


def test_calibration_is_described_if_it_was_measured():
    assert "Calibration was not measured." in model_card.write(_evidence(["a", "b"]))
    metrics = {
        "test_calibration/ece": 0.123,
        "test_calibration/confidence_right_mean": 0.9,
        "test_calibration/confidence_wrong_mean": 0.6,
    }
    text = model_card.write(_evidence(["a", "b"], metrics=metrics))
    assert "the confidence is off by 12.3% in the mean (ECE); it is 90.0% in the mean where" in text
    assert "the model is right, 60.0% where it is wrong." in text


def test_without_the_recall_of_each_class_the_card_says_so():
    text = model_card.write(_evidence(["a", "b"], per_class={}))
    assert "did not record the recall of each class" in text
    assert "May miss" not in text


def test_a_long_card_leaves_out_classes_and_says_so():
    evidence = _evidence([f"class | {number}" for number in range(300)])
    whole, short = model_card.write(evidence), model_card.write(evidence, 5_000)
    assert whole.count("\n| class") == 301
    assert len(short) <= 5_000
    assert "| class \\| 0 | &emsp;3 | &emsp;100 | &emsp;0.00 |" in short
    assert "classes of higher recall: see model_card.md" in short
