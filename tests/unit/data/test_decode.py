import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops

from imbalance_study.data.decode import _TURNS, decode, decode_files, resize


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def mean_colour(data: bytes, size: int = 8) -> list[int]:
    pixels = decode(data, size)
    assert pixels.shape == (size, size, 3)
    assert pixels.dtype == np.uint8
    return np.rint(pixels.reshape(-1, 3).mean(0)).astype(int).tolist()


@pytest.mark.parametrize(
    ("mode", "kind", "colour", "expected"),
    [
        ("1", "PNG", 1, [255, 255, 255]),
        ("L", "PNG", 40, [40, 40, 40]),
        ("LA", "PNG", (40, 255), [40, 40, 40]),
        ("RGB", "BMP", (10, 20, 30), [10, 20, 30]),
        ("RGBA", "PNG", (10, 20, 30, 255), [10, 20, 30]),
        ("CMYK", "TIFF", (0, 255, 255, 0), [255, 0, 0]),
        ("I", "TIFF", 40 * 256 + 9, [40, 40, 40]),
        ("F", "TIFF", 0.5, [127, 127, 127]),
        ("F", "TIFF", 200.0, [200, 200, 200]),
    ],
)
def test_every_mode_becomes_rgb(
    mode: str, kind: str, colour: float | tuple[int, ...], expected: list[int]
) -> None:
    assert mean_colour(encoded(Image.new(mode, (9, 8), colour), kind)) == expected


def test_grey_of_sixteen_bits_keeps_its_upper_eight() -> None:
    image = Image.fromarray(np.full((5, 5), 0xC8FF, np.uint16))
    assert mean_colour(encoded(image)) == [0xC8] * 3


def test_a_palette_image_shows_its_colours() -> None:
    image = Image.new("RGB", (8, 8), (200, 0, 100)).convert("P", palette=Image.Palette.ADAPTIVE)
    assert mean_colour(encoded(image)) == [200, 0, 100]


def test_transparent_pixels_are_white_whatever_lies_under_them() -> None:
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert mean_colour(encoded(clear)) == [255, 255, 255]
    half = Image.new("RGBA", (8, 8), (255, 0, 0, 51))
    assert mean_colour(encoded(half)) == [255, 204, 204]
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([0, 0, 0])
    assert mean_colour(encoded(palette, transparency=0)) == [255, 255, 255]
    keyed = Image.new("RGB", (8, 8), (1, 2, 3))
    assert mean_colour(encoded(keyed, transparency=(1, 2, 3))) == [255, 255, 255]


def test_one_pixel_fills_the_square() -> None:
    assert (decode(encoded(Image.new("RGB", (1, 1), (9, 8, 7))), 5) == (9, 8, 7)).all()


def test_the_centre_is_kept_and_nothing_is_squashed() -> None:
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = (0, 255, 0)
    square = decode(encoded(Image.fromarray(wide)), 10)
    assert (square[:, 1:-1] == (0, 255, 0)).all()  # the border mixes with what is cut off
    assert square[:, 0, 1].min() > 200
    tall = decode(encoded(Image.fromarray(wide.transpose(1, 0, 2))), 10)
    assert (tall == square.transpose(1, 0, 2)).all()


def test_shrinking_averages_instead_of_picking_pixels() -> None:
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    pixels = decode(encoded(Image.fromarray(board)), 8)[2:-2, 2:-2].astype(int)
    assert abs(pixels - 127).max() <= 4


def test_an_image_of_the_right_size_keeps_its_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    assert (decode(encoded(Image.fromarray(pixels)), 12) == pixels).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_stand_upright(orientation: int) -> None:
    upright = np.zeros((16, 16, 3), np.uint8)
    upright[:8, :8] = (255, 0, 0)
    upright[:8, 8:] = (0, 255, 0)
    upright[8:, :8] = (0, 0, 255)
    undo = {5: 5, 6: 8, 7: 7, 8: 6}.get(orientation, orientation)
    stored = Image.fromarray(upright)
    if undo in _TURNS:
        stored = stored.transpose(_TURNS[undo])
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert (decode(encoded(stored, exif=exif), 16) == upright).all()


def test_a_quarter_turn_agrees_with_the_exif_standard() -> None:
    stored = Image.new("RGB", (8, 8))
    stored.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # row 0 is the visual right-hand side, column 0 the visual top
    assert decode(encoded(stored, exif=exif), 8)[0, 7].tolist() == [255, 255, 255]


def test_a_large_jpeg_looks_as_if_it_was_decoded_in_full() -> None:
    noise = Image.effect_noise((640, 480), 60).convert("RGB")
    data = encoded(noise, "JPEG", quality=95)
    with Image.open(io.BytesIO(data)) as image:
        full = image.convert("RGB").resize(
            (100, 100), Image.Resampling.BICUBIC, box=(80, 0, 560, 480)
        )
    difference = np.asarray(ImageChops.difference(full, Image.fromarray(decode(data, 100))))
    assert difference.mean() < 3


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"hello, I am text\n", "not an image"),
        (encoded(Image.effect_noise((64, 64), 50), "JPEG")[:900], "truncated"),
        (b"\xff\xd8\xff\xe0" + bytes(50), "."),
    ],
)
def test_what_is_no_image_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode(data, 8)


def test_image_bombs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 99)
    assert decode(encoded(Image.new("L", (9, 11))), 4).shape == (4, 4, 3)
    with pytest.raises(ValueError, match=r"exceeds limit|10x30 pixels are more than the 99"):
        decode(encoded(Image.new("L", (10, 30))), 4)
    with pytest.warns(Image.DecompressionBombWarning), pytest.raises(ValueError, match="10x10"):
        decode(encoded(Image.new("L", (10, 10))), 4)


def test_resizing_arrays_equals_decoding_them() -> None:
    images = np.random.default_rng(1).integers(0, 256, (3, 8, 8, 3), np.uint8)
    by_file = [decode(encoded(Image.fromarray(image)), 20) for image in images]
    assert (resize(images, 20) == np.stack(by_file)).all()
    assert resize(images, 8) is images
    assert resize(images[:0], 20).shape == (0, 20, 20, 3)


def read_all(
    root: Path, files: list[str], total_bytes: int, workers: int
) -> tuple[np.ndarray, dict[int, str]]:
    chunks = list(decode_files(root, files, total_bytes, 4, workers))
    bad = dict(pair for chunk in chunks for pair in chunk.bad)
    return np.concatenate([chunk.images for chunk in chunks]), bad


@pytest.mark.parametrize("small", [True, False], ids=["processes", "threads"])
def test_many_files_come_in_order_with_the_bad_ones_named(tmp_path: Path, small: bool) -> None:
    colours = {bytes([n % 256, n // 256, 0]): n for n in range(2600)}
    files = []
    for colour, number in colours.items():
        files.append(f"{number}.ppm")
        (tmp_path / files[-1]).write_bytes(b"P6 1 1 255\n" + colour)
    for number in (0, 700, 2599):
        (tmp_path / files[number]).write_bytes(b"text")
    total = 14 * 2600 if small else 10**9
    images, bad = read_all(tmp_path, files, total, workers=2)
    assert sorted(bad) == [0, 700, 2599]
    expected = [n for n in range(2600) if n not in bad]
    assert [colours[bytes(image[0, 0])] for image in images] == expected


def test_zip_members_are_read_without_unpacking(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/1.png", encoded(Image.new("RGB", (3, 3), (1, 2, 3))))
        archive.writestr("x/2.png", b"no")
    images, bad = read_all(path, ["x/1.png", "x/2.png"], 100, workers=1)
    assert (images == (1, 2, 3)).all()
    assert images.shape == (1, 4, 4, 3)
    assert list(bad) == [1]
    damaged = bytearray(path.read_bytes())
    damaged[40] ^= 0xFF  # in the first member's bytes: its checksum no longer fits
    path.write_bytes(damaged)
    assert sorted(read_all(path, ["x/1.png", "x/2.png"], 100, workers=1)[1]) == [0, 1]


def test_huge_files_pipes_and_missing_files_are_bad_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imbalance_study.data.decode.MAX_FILE_BYTES", 1000)
    (tmp_path / "large.png").write_bytes(bytes(1001))
    os.mkfifo(tmp_path / "pipe.png")
    _, bad = read_all(tmp_path, ["large.png", "pipe.png", "gone.png"], 0, workers=1)
    assert "1001 bytes are more than the 1000" in bad[0]
    assert bad[1] == "not a regular file"
    assert bad[2] == "No such file or directory"
