import pytest
import torch

from imbalance_study.evaluation.token_maps import as_maps, in_place_of


@pytest.mark.parametrize("extra", [0, 1, 2, 5])
def test_tokens_of_patches_become_maps_row_by_row_behind_the_extra_ones(extra):
    tokens = torch.arange(2.0 * (16 + extra) * 3).view(2, 16 + extra, 3)
    maps = as_maps(tokens)
    assert maps.shape == (2, 3, 4, 4)
    assert torch.equal(maps[1, :, 2, 3], tokens[1, extra + 4 * 2 + 3])
    assert torch.equal(in_place_of(tokens, maps), tokens)


def test_maps_stay_and_maps_with_the_channels_last_are_permuted():
    first, last = torch.randn(2, 3, 4, 4), torch.randn(2, 4, 4, 7)
    assert as_maps(first) is first
    assert torch.equal(as_maps(last), last.permute(0, 3, 1, 2))
    for output in (first, last):
        assert torch.equal(in_place_of(output, as_maps(output)), output)


@pytest.mark.parametrize(
    "output", [torch.zeros(2, 5), torch.zeros(2, 15, 3), torch.zeros(2, 1, 3), None, (1, 2)]
)
def test_other_outputs_hold_no_maps(output):
    assert as_maps(output) is None
