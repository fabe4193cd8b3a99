"""``imbalance-study predict``: predictions for any number of image files."""

from __future__ import annotations

import dataclasses
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Literal

import click

from imbalance_study.cli import definition, loading
from imbalance_study.config import fields
from imbalance_study.config.fields import option

if TYPE_CHECKING:
    from imbalance_study.inference.load import LoadedModel
    from imbalance_study.inference.predict import FilePredictions, ReservoirSample

# At most so many images on the contact sheet, unreadable files in messages, classes in the summary.
_SHEET, _NAMED, _COUNTED = 60, 20, 15
_SAME = 1e-5  # probabilities that differ by less are the same


@dataclasses.dataclass(frozen=True)
class Settings:
    """Model, images, and files of the result.

    Raises:
        ValueError: A value is outside its range or choices.
    """

    model: str = option("none", "Model", loading.MODEL_HELP[0].upper() + loading.MODEL_HELP[1:])
    tracking_uri: str = option(
        "auto", "Model", "Store of the model; auto: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db."
    )
    own_code: bool = option(False, "Model", loading.OWN_CODE_HELP)
    images: str = option(
        "none", "Images", "An image or a folder, searched in depth; more may follow behind it."
    )
    out: str = option(
        "predictions.parquet",
        "Output",
        "The table, .parquet or .csv: a row for each file, in order, with label, probability, the "
        "five most probable classes, and the reason why a file could not be read.",
    )
    reject_below: float = option(
        0.0,
        "Output",
        "Leave the label empty, and set the column rejected, if the most probable class is less "
        "probable than this.",
        minimum=0,
        maximum=1,
    )
    contact_sheet: str = option(
        "none", "Output", f"PNG file of {_SHEET} images drawn at random, with their predictions."
    )
    batch_size: int = option(256, "Machine", "Images in a batch of the model.", minimum=1)
    decode_workers: int = option(
        0, "Machine", "Cores that decode images; 0: all.", minimum=0, formerly="workers"
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = option(
        "auto", "Machine", "Device of the computation."
    )

    def __post_init__(self) -> None:
        fields.check(self)


@definition.command(Settings)
@click.argument("more_images", nargs=-1)
def command(settings: Settings, more_images: tuple[str, ...]) -> None:
    """Predict the classes of any number of image files with the model of a run, in little memory.

    imbalance-study predict --model models:/NAME@champion --images photos/ --out predictions.parquet

    The table has a row for each file, whatever its ending; unreadable files are named and counted,
    and it gives the reason. The command fails only if no file can be read.
    """
    paths = [path for path in (settings.images, *more_images) if path != "none"]
    if not paths:
        raise ValueError("images must name an image or a folder")
    if settings.model == "none":
        raise ValueError(f"model must name a trained model: {loading.MODEL_HELP}")
    sheet = Path(settings.contact_sheet).suffix.lower()
    if settings.contact_sheet != "none" and sheet != ".png":
        raise ValueError(f"contact_sheet must end in .png, got {settings.contact_sheet!r}")
    signal.signal(signal.SIGTERM, _exit)  # so that the incomplete table is removed
    for line in _predict(settings, paths):
        click.echo(line)


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _predict(settings: Settings, paths: Sequence[str]) -> list[str]:
    from imbalance_study.data.image_folder import walk_files
    from imbalance_study.inference import table

    out = Path(settings.out).expanduser()
    table.ending(out)
    written = [name for name in (settings.out, settings.contact_sheet) if name != "none"]
    results = {Path(name).expanduser().resolve() for name in written}

    def files() -> Iterator[Path]:
        return (path for path in walk_files(paths) if path.resolve() not in results)

    total = sum(1 for _ in files())
    if not total:
        raise ValueError(f"there are no files in {', '.join(paths)}")
    loaded = loading.load_model(settings.model, settings.tracking_uri, own_code=settings.own_code)
    facts = {
        "model": settings.model,
        "class_names": list(loaded.class_names),
        "reject_below": settings.reject_below,
    }
    summary = _Summary(loaded, settings.reject_below)
    with table.table(out, loaded.class_names, facts) as write:
        for chunk in _chunks(settings, loaded, files(), total):
            write(table.columns_of(chunk, loaded.class_names, settings.reject_below))
            summary.add(chunk)
        summary.refuse_nothing_read()
        if settings.contact_sheet != "none":
            _draw(Path(settings.contact_sheet).expanduser(), summary.sample, loaded, settings)
    return summary.lines(out)


def _chunks(
    settings: Settings, loaded: LoadedModel, files: Iterator[Path], total: int
) -> Iterator[FilePredictions]:
    """Yield the predictions, with a bar that shows images per second."""
    from tqdm import tqdm

    from imbalance_study.config.schema import Config
    from imbalance_study.experiment.setup.device import resolve_device
    from imbalance_study.inference.predict import predict_files

    chunks = predict_files(
        loaded,
        files,
        batch_size=settings.batch_size,
        workers=settings.decode_workers,
        device=resolve_device(Config(device=settings.device)).device.type,
    )
    with tqdm(total=total, desc="predicting", unit="img", delay=1, disable=None) as bar:
        for chunk in chunks:
            yield chunk
            bar.update(len(chunk.files))


class _Summary:
    """Counts of predictions and unreadable files, and a random sample of the images."""

    def __init__(self, loaded: LoadedModel, reject_below: float) -> None:
        from imbalance_study.inference.predict import ReservoirSample

        self.sample: ReservoirSample = ReservoirSample(_SHEET)
        self._names = [str(name) for name in loaded.class_names]
        self._reject_below = reject_below
        self._labels: Counter[int] = Counter()
        self._likeliest: Counter[int] = Counter()
        self._range = (1.0, 0.0)  # lowest and highest probability of the likeliest class
        self._endings: Counter[str] = Counter()  # of unreadable files
        self._files = self._bad = self._rejected = 0
        self._started = time.perf_counter()

    def add(self, chunk: FilePredictions) -> None:
        """Count a chunk, and report its unreadable files."""
        from imbalance_study.data.image_folder import readable

        for file, error in zip(chunk.files, chunk.errors, strict=True):
            if error:
                self._bad += 1
                self._endings[Path(file).suffix.lower() or "no ending"] += 1
                if self._bad <= _NAMED:
                    click.echo(f"cannot be read: {readable(file)} ({error})", err=True)
        if len(chunk.images):
            best = chunk.probs[:, 0]
            self._likeliest.update(chunk.classes[:, 0].tolist())
            self._range = (min(self._range[0], best.min()), max(self._range[1], best.max()))
            sure = best >= self._reject_below
            self._labels.update(chunk.classes[sure, 0].tolist())
            self._rejected += int((~sure).sum())
        self._files += len(chunk.files)
        self.sample.add(chunk)

    def refuse_nothing_read(self) -> None:
        """Refuse a result without any prediction.

        Raises:
            ValueError: No file could be read.
        """
        if self._bad == self._files:
            raise ValueError(f"none of the {self._files:,} files could be read as an image")

    def lines(self, out: Path) -> list[str]:
        """Return the counts, the speed and the path of the table, for the terminal."""
        seconds = time.perf_counter() - self._started
        width = max(len(self._names[label]) for label in self._labels) if self._labels else 0
        lines = [
            f"{self._names[label]:{width}}  {count:,} ({count / self._files:.1%})"
            for label, count in self._labels.most_common(_COUNTED)
        ]
        if len(self._labels) > _COUNTED:
            lines.append(f"and {len(self._labels) - _COUNTED} more classes")
        if self._rejected:
            lines.append(f"{self._rejected:,} rejected: less probable than {self._reject_below:g}")
        if self._bad:
            endings = ", ".join(f"{name} {count}" for name, count in self._endings.most_common(5))
            lines.append(f"{self._bad:,} unreadable ({endings}): see the column error")
        lines += self._doubts()
        rate = self._files / seconds
        lines.append(f"{self._files:,} files in {seconds:.1f} s, {rate:,.0f} images/s")
        return [*lines, f"Written to {out.absolute()}"]

    def _doubts(self) -> list[str]:
        """Say that all images were given one class."""
        images = self._likeliest.total()
        if images < 2 or len(self._likeliest) > 1:
            return []
        name = self._names[next(iter(self._likeliest))]
        lowest, highest = self._range
        text = f"Note: all {images:,} images have the likeliest class {name}"
        if highest - lowest < _SAME:
            text += f", with the same probability {highest:.3f}: the model does not tell them apart"
        return [text]


def _draw(path: Path, sample: ReservoirSample, loaded: LoadedModel, settings: Settings) -> None:
    """Draw the contact sheet."""
    import numpy as np

    from imbalance_study import files
    from imbalance_study.evaluation.figures.contact_sheet import contact_sheet

    figure = contact_sheet(
        np.stack(sample.images),
        [Path(file).name for file in sample.files],
        np.array(sample.classes),
        np.array(sample.probs),
        [str(name) for name in loaded.class_names],
        f"{len(sample.images)} of {sample.seen:,} images, as the model sees them",
        settings.reject_below,
    )
    with files.replacing(path) as partial:
        figure.savefig(partial, format="png")
