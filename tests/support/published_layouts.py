"""Small made-up image sets in eight layouts that people publish.

Each function fills a folder and returns the options that read it. The images of a class have a
colour of their own, and noise.
"""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

Options = dict[str, str]
_COLOURS = ((200, 60, 60), (60, 200, 60), (60, 60, 200), (180, 180, 40), (120, 40, 160))


def _picture(label: int, number: int, size: tuple[int, int] = (48, 40)) -> Image.Image:
    noise = np.random.default_rng([label, number]).normal(0, 40, (size[1], size[0], 3))
    pixels = np.clip(np.array(_COLOURS[label]) + noise, 0, 255)
    return Image.fromarray(pixels.astype(np.uint8))


def _fill(folder: Path, label: int, numbers: range, ending: str = "jpg") -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{folder.name}_{number:03d}.{ending}" for number in numbers]
    for path, number in zip(paths, numbers, strict=True):
        _picture(label, number).save(path)
    return paths


def brain_mri(root: Path) -> Options:
    """Training and Testing above four tumours."""
    for label, name in enumerate(("glioma", "meningioma", "notumor", "pituitary")):
        _fill(root / "Training" / name, label, range(12 - 2 * label))
        _fill(root / "Testing" / name, label, range(100, 104))
    return {"dataset": "imagefolder", "data_dir": str(root)}


def chest_x_rays(root: Path) -> Options:
    """A folder in the folder, train, val and test above NORMAL and PNEUMONIA."""
    for part, start, counts in (("train", 0, (8, 20)), ("val", 100, (2, 2)), ("test", 200, (5, 8))):
        for label, (name, count) in enumerate(zip(("NORMAL", "PNEUMONIA"), counts, strict=True)):
            folder = root / "chest_xray" / part / name
            _fill(folder, label, range(start, start + count), "jpeg")
            (folder / ".DS_Store").write_bytes(b"")
    return {"dataset": "imagefolder", "data_dir": str(root)}


def ham10000(root: Path) -> Options:
    """Two folders of images, and a table of lesions that have one image or more."""
    rows = ["lesion_id,image_id,dx,dx_type,age,sex,localization"]
    for label, (name, count) in enumerate((("nv", 24), ("mel", 10), ("bkl", 6))):
        for number in range(count):
            half = root / f"HAM10000_images_part_{1 + number % 2}"
            half.mkdir(parents=True, exist_ok=True)
            image = f"ISIC_{label}{number:03d}"
            _picture(label, number).save(half / f"{image}.jpg")
            rows.append(f"HAM_{label}{number // 2:03d},{image},{name},histo,80.0,male,scalp")
    (root / "HAM10000_metadata.csv").write_text("\n".join(rows))
    (root / "hmnist_8_8_L.csv").write_text("pixel0000,pixel0001,label\n169,171,2\n")
    return {"dataset": "csv", "data_dir": str(root)}


def isic(root: Path) -> Options:
    """A table with a column of 0 and 1 for each class; one of the classes has no image."""
    names = ("MEL", "NV", "BCC", "UNK")
    rows = [",".join(("image", *names))]
    for label, count in enumerate((10, 24, 8)):
        numbers = range(100 * label, 100 * label + count)
        cells = [str(float(name == names[label])) for name in names]
        paths = _fill(root / "ISIC_Training_Input", label, numbers)
        rows += [",".join([path.stem, *cells]) for path in paths]
    (root / "ISIC_Training_GroundTruth.csv").write_text("\n".join(rows))
    return {"dataset": "csv", "data_dir": str(root)}


def plant_leaves(root: Path) -> Options:
    """Class folders two folders down, beside notes and a few files of other endings."""
    names = ("Potato___Early_blight", "Potato___healthy", "Tomato___Late_blight")
    for label, (name, count) in enumerate(zip(names, (20, 8, 14), strict=True)):
        folder = root / "PlantVillage" / "PlantVillage" / name
        _fill(folder, label, range(count), "JPG")
        if label == 1:
            for number in range(3):
                (folder / f"phone_{number}.cr2").write_bytes(b"raw")
    (root / "README.txt").write_text("leaves")
    return {"dataset": "imagefolder", "data_dir": str(root)}


def strip_steel(root: Path) -> Options:
    """Wide photographs, a table with classes as numbers, and contest files beside it."""
    (root / "train_images").mkdir(parents=True)
    (root / "test_images").mkdir()
    rows = ["ImageId,ClassId,EncodedPixels"]
    for label, count in enumerate((12, 6, 24, 8)):
        for number in range(count):
            name = f"{label}{number:05d}.jpg"
            wide = _picture(label, number, (100, 16)).resize((1600, 256))
            wide.save(root / "train_images" / name)
            rows.append(f"{name},{label + 1},{number + 1} 12 300 5")
    _picture(0, 99).save(root / "test_images" / "a.jpg")
    (root / "train.csv").write_text("\n".join(rows))
    (root / "sample_submission.csv").write_text("ImageId,EncodedPixels,ClassId\na.jpg,1 1,1\n")
    return {"dataset": "csv", "data_dir": str(root)}


def twelve_bits(root: Path) -> Options:
    """Grey images with values up to 4,095 in PNG files of 16 bits."""
    for label, (name, count) in enumerate((("normal", 20), ("opacity", 10))):
        (root / name).mkdir(parents=True)
        for number in range(count):
            grey = np.asarray(_picture(label, number).convert("L")).astype(np.uint16) * 16
            grey[label::3] //= 2
            Image.fromarray(grey).save(root / name / f"{number:03d}.png")
    return {"dataset": "imagefolder", "data_dir": str(root)}


def mac_zip(root: Path) -> Options:
    """A zip file that a Mac made: each file has a shadow in __MACOSX."""
    path = root / "flowers of mine.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for label, (name, count) in enumerate((("daisy", 16), ("rose", 8))):
            for file in _fill(root / "made" / name, label, range(count)):
                inner = f"flowers of mine/{name}/{file.name}"
                archive.write(file, inner)
                archive.writestr(f"__MACOSX/{inner.replace(file.name, '._' + file.name)}", b"\0")
        archive.writestr("flowers of mine/.DS_Store", b"\0")
    return {"dataset": "imagefolder", "data_dir": str(path)}


LAYOUTS: dict[str, Callable[[Path], Options]] = {
    make.__name__: make
    for make in (
        *(brain_mri, chest_x_rays, ham10000, isic, plant_leaves, strip_steel, twelve_bits, mac_zip),
    )
}
