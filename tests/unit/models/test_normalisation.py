import numpy as np
import pytest

from imbalance_study.config import choices, spec
from imbalance_study.models import normalisation


def _bound(text):
    return spec.bind(choices.NORMALISATIONS, text, "normalisation")()


def test_one_number_is_for_all_channels_and_three_are_for_one_each():
    mean, std = _bound("values:mean=0.5,std=0.2/0.3/0.4")
    assert mean == (0.5, 0.5, 0.5)
    assert std == (0.2, 0.3, 0.4)


def test_imagenets_are_those_of_torchvision():
    mean, std = normalisation.imagenet()
    np.testing.assert_allclose([mean, std], [(0.485, 0.456, 0.406), (0.229, 0.224, 0.225)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("values", "mean of normalisation values must be one number, or three .* got ''"),
        ("values:mean=0.5/0.5,std=1", "must be one number, or three with / between, got '0.5/0.5'"),
        ("values:mean=x,std=1", "must be one number, or three with / between, got 'x'"),
        ("values:mean=127,std=128", "mean .* must be in 0..1, got 127; divide numbers for pixels"),
        ("values:mean=nan,std=1", "mean of normalisation values must be in 0..1, got nan"),
        ("values:mean=0.5,std=0", "std of normalisation values must be above 0 .* got 0"),
        ("values:mean=0.5,std=58", "std of normalisation values must be above 0 .* got 58"),
        ("values:middle=0.5", "has no option 'middle'; it takes: mean, std"),
    ],
)
def test_other_numbers_are_refused_with_the_rule(text, message):
    with pytest.raises(ValueError, match=message):
        _bound(text)
