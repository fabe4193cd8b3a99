"""Images of more than eight bits."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from imbalance_study.data import deep_pixels
from imbalance_study.data.decode import Decoding, decode, decode_and_look
from imbalance_study.data.deep_pixels import Use, range_of


def encoded(array, kind="PNG"):
    """A file of grey pixels."""
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind)
    return stream.getvalue()


def colour_png(array, colour_type=2):
    """A PNG of sixteen bits a channel, which Pillow cannot write."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)

    def chunk(name, data):
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    height, width = array.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


RAMP = np.arange(256, dtype=np.uint16).reshape(16, 16)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize(("factor", "white"), [(1, 255), (16, 4080), (100, 25_500)])
def test_whole_numbers_are_scaled_by_the_range(kind, factor, white):
    found = decode(encoded(RAMP * factor, kind), 16, Decoding(whole=(0, white)))
    np.testing.assert_array_equal(found[..., 0], RAMP)


def test_values_outside_the_range_are_clipped_to_black_and_white():
    found = decode(encoded(RAMP), 16, Decoding(whole=(100, 200)))[..., 0]
    assert (found[RAMP <= 100] == 0).all()
    assert (found[RAMP >= 200] == 255).all()
    assert found[RAMP == 150].tolist() == [127]


def test_without_a_range_the_upper_eight_bits_count():
    values = RAMP * 257
    np.testing.assert_array_equal(decode(encoded(values), 16)[..., 0], values >> 8)


@pytest.mark.parametrize(("colour_type", "bands"), [(2, 3), (6, 4)])
def test_colour_of_sixteen_bits_keeps_its_lower_bits(colour_type, bands):
    values = np.stack([RAMP, RAMP[::-1], RAMP.T, np.full_like(RAMP, 65_535)], axis=2)[..., :bands]
    found, look = decode_and_look(colour_png(values, colour_type), 16, Decoding(whole=(0, 255)))
    np.testing.assert_array_equal(found, values[..., :3])
    assert (look.use.kind, look.use.low, look.use.high) == ("whole", 0, 255)


def test_decimal_numbers_are_scaled_by_the_range_and_undefined_ones_are_black():
    values = RAMP.astype(np.float32) / 255 * 6 - 3  # as after standardisation
    values[0, 1] = np.nan
    found = decode(encoded(values, "TIFF"), 16, Decoding(decimal=(-3, 3)))[..., 0]
    assert found[0, 1] == 0
    assert np.abs(found.astype(int) - RAMP)[1:].max() <= 1


def test_the_use_of_an_image_leaves_undefined_pixels_out():
    use = deep_pixels.use_of(np.array([[np.nan, 1.5], [np.inf, 0.25]], np.float32))
    assert use[:3] == ("decimal", 0.25, 1.5)
    assert deep_pixels.use_of(np.full((2, 2), np.nan, np.float32)).high == 0


def _use(low, high, kind="whole", inner=None):
    return Use(kind, low, high, *(inner or (low, high)))


@pytest.mark.parametrize(
    ("uses", "expected"),
    [
        ([], ()),
        ([_use(10, 900), _use(0, 4095)], (0, 4095)),
        ([_use(28_000, 31_000), _use(29_000, 32_000)], (28_000, 32_000)),
        ([_use(3, 65_000)], ()),  # sixteen bits in full: as without a range
        ([_use(0, 65_535, inner=(2, 4000))], (2, 4000)),  # a few hot pixels
        ([_use(-1024, 3071)], (-1024, 3071)),
        ([_use(0.0, 0.9, "decimal")], (0.0, 1.0)),
        ([_use(0.0, 254.0, "decimal")], (0.0, 255.0)),
        ([_use(-2.5, 3.0, "decimal")], (-2.5, 3.0)),
        ([_use(0.0, 0.2, "decimal")], (0.0, 0.2)),
    ],
)
def test_the_range_is_that_of_all_images_without_hot_pixels(uses, expected):
    assert range_of(uses) == expected


def test_an_image_of_one_value_is_black():
    assert not decode(encoded(np.full((8, 8), 7, np.uint16)), 8, Decoding(whole=(7, 7))).any()
