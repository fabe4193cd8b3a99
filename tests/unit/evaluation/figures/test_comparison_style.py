from imbalance_study.evaluation.figures import comparison_style


def test_every_configuration_looks_different_and_the_baseline_is_black():
    looks = comparison_style.looks(19)
    assert looks[0].color == "#000000"
    assert len({(look.color, look.pattern) for look in looks}) == 19
    assert comparison_style.looks(3) == looks[:3]


def test_labels_drop_what_all_share_break_long_names_and_stay_different():
    assert comparison_style.labels(["loss=a", "loss=b:x=1"]) == ["a", "b:x=1"]
    assert comparison_style.labels(["loss=a", "sampler=b"]) == ["loss=a", "sampler=b"]
    assert comparison_style.labels(["loss=a"]) == ["loss=a"]
    assert comparison_style.labels(["a", "b"], [False, True]) == ["a", "b †"]
    long = "x" * 200
    first, second = comparison_style.labels([long, long + "y" + "x" * 40])
    assert first != second
    assert all(len(line) <= comparison_style.LINE + 4 for line in f"{first}\n{second}".split("\n"))
    broken = comparison_style.labels(
        ["loss=focal:gamma=2 class_weights=effective:beta=0.999", "other"]
    )
    assert broken[0] == "loss=focal:gamma=2\nclass_weights=effective:beta=0.999"
    assert comparison_style.labels(["a$b$"]) == [r"a\$b\$"]
