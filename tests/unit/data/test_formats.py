"""Formats of image files."""

import importlib.util
import io

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from imbalance_study.data import formats
from imbalance_study.data.decode import decode, decode_and_look
from imbalance_study.data.image_folder import is_image

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50)


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        *((".jp2", "JPEG2000"), (".avif", "AVIF"), (".tga", "TGA"), (".jpe", "JPEG")),
        *((".dib", "DIB"), (".j2k", "JPEG2000"), (".qoi", "QOI"), (".pcx", "PCX"), (".dds", "DDS")),
    ],
)
def test_a_format_that_pillow_decodes_is_read_by_its_ending(ending, kind):
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, kind)
    assert is_image(f"photo{ending.upper()}")
    lossy = kind in ("AVIF", "JPEG")
    difference = np.abs(decode(stream.getvalue(), 24).astype(int) - PIXELS)
    assert difference.mean() < (60 if lossy else 1)


def test_every_ending_is_one_of_pillow_or_of_heic():
    Image.init()
    assert {*formats.ENDINGS} - {".heic", ".heif", ".hif"} <= {*Image.registered_extensions()}


@pytest.mark.skipif(importlib.util.find_spec("pillow_heif") is not None, reason="it is installed")
def test_a_heic_file_names_the_extra_that_reads_it():
    with pytest.raises(ValueError, match=r"pip install 'imbalance-study\[heic\]'"):
        decode(HEIC, 8)


def test_a_heic_file_is_read_where_the_extra_is_installed():
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, "HEIF")
    assert decode(stream.getvalue(), 24).shape == (24, 24, 3)


def _tiff(pages, **tags):
    stream = io.BytesIO()
    first, *rest = [Image.fromarray(page) for page in pages]
    first.save(stream, "TIFF", save_all=True, append_images=rest, **tags)
    return stream.getvalue()


def test_the_pages_of_a_tiff_are_counted_and_the_first_is_decoded():
    image, look = decode_and_look(_tiff([PIXELS, 255 - PIXELS, PIXELS]), 24)
    np.testing.assert_array_equal(image, PIXELS)
    assert look.pages == 3
    assert decode_and_look(_tiff([PIXELS]), 24)[1].pages == 1


def test_a_fourth_band_that_is_not_alpha_does_not_bleach_the_others():
    four = np.concatenate([PIXELS, np.full((24, 24, 1), 10, np.uint8)], axis=2)
    content = _tiff([four])
    image, look = decode_and_look(content, 24)
    assert not look.spare_band  # Pillow writes that it is alpha
    assert image.mean() > 230
    tag = TiffImagePlugin.EXTRASAMPLES
    undeclared = content.replace(tag.to_bytes(2, "little") + b"\x03\0", b"\xff\xfe\x03\0", 1)
    image, look = decode_and_look(undeclared, 24)
    np.testing.assert_array_equal(image, PIXELS)
    assert look.spare_band


def test_a_tiff_of_many_bands_is_refused_with_their_number():
    content = _tiff([PIXELS]).replace(
        (277).to_bytes(2, "little") + b"\x03\0\x01\0\0\0\x03\0",
        (277).to_bytes(2, "little") + b"\x03\0\x01\0\0\0\x0d\0",
    )
    with pytest.raises(ValueError, match="a TIFF of 13 bands"):
        decode(content, 8)
