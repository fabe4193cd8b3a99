import pytest

from imbalance_study.data.labels import key_of, near_equal, near_groups


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Rust", "rust"),
        ("rust ", "rust"),
        ("1", "1.0"),
        ("early_blight", "Early blight"),
        ("caf\u00e9", "cafe\u0301"),
    ],
)
def test_near_equal_labels_have_one_key(one, other):
    assert key_of(one) == key_of(other)


@pytest.mark.parametrize(("one", "other"), [("1", "2"), ("rust", "rusty"), ("10", "1")])
def test_different_labels_have_two_keys(one, other):
    assert key_of(one) != key_of(other)


def test_near_equal_labels_are_named_with_their_numbers():
    (found,) = near_equal(["Rust", "healthy", "rust"], {"Rust": 20, "healthy": 9, "rust": 2})
    assert found.text == "'Rust' (20), 'rust' (2) are different classes, and look alike"
    assert near_equal(["a", "b"]) == []


def test_groups_that_look_alike_are_named():
    (found,) = near_groups({"P1", "p 1", "P2"})
    assert found.text == "groups that look alike, and are kept apart: 'P1' and 'p 1'"
    assert near_groups({"P1", "P2", ""}) == []
