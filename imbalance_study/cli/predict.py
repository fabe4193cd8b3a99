"""``imbalance-study predict``: labels for any number of image files."""

from __future__ import annotations

import dataclasses
import signal
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal

import click

from imbalance_study.cli import loading
from imbalance_study.cli.options import GroupedCommand, flag, given, options
from imbalance_study.config import fields
from imbalance_study.config.fields import option
from imbalance_study.experiment.setup.device import resolve_device

if TYPE_CHECKING:
    from imbalance_study.inference.load import LoadedModel
    from imbalance_study.inference.predict import FilePredictions, ReservoirSample

# Images on a contact sheet, unreadable files that are named, classes that are counted, at most.
_SHEET, _NAMED, _COUNTED = 60, 20, 15


@dataclasses.dataclass(frozen=True)
class Settings:
    """Which model labels which images, and where the labels go.

    Raises:
        ValueError: A value is outside its range or choices.
    """

    model: str = option("none", "Model", loading.MODEL_HELP[0].upper() + loading.MODEL_HELP[1:])
    tracking_uri: str = option(
        "auto", "Model", "Where it is; auto: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db."
    )
    images: str = option(
        "none", "Images", "An image or a folder, searched in depth; more may follow behind it."
    )
    out: str = option(
        "predictions.parquet",
        "Output",
        "The table, .parquet or .csv: a row for each file, in order, with label, probability, the "
        "five most probable classes, and why a file could not be read.",
    )
    reject_below: float = option(
        0.0,
        "Output",
        "Leave the label empty, and say so in the column rejected, where the most probable class "
        "is less probable than this.",
        minimum=0,
        maximum=1,
    )
    contact_sheet: str = option(
        "none", "Output", f"A PNG file that shows {_SHEET} of the images, at random, with labels."
    )
    batch_size: int = option(256, "DeviceSetup", "Images that the model takes at once.", minimum=1)
    workers: int = option(0, "DeviceSetup", "Cores that decode; 0 for all.", minimum=0)
    device: Literal["auto", "cpu", "cuda", "mps"] = option(
        "auto", "DeviceSetup", "Where to compute."
    )

    def __post_init__(self) -> None:
        fields.check(self)


@click.command(
    cls=GroupedCommand,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.argument("more_images", nargs=-1)
@flag("debug", "Show the traceback of an error.")
def command(more_images: tuple[str, ...], debug: str, **values: Any) -> None:
    """Label image files with the model of a run, at any number and in little memory.

    imbalance-study predict --model models:/NAME@champion --images photos/ --out predictions.parquet

    Files that cannot be read are named, counted, and have their reason in the table; it is an error
    only when none can be read.
    """
    settings = Settings(**fields.parse_values(Settings, given(values)))
    places = [place for place in (settings.images, *more_images) if place != "none"]
    if not places:
        raise ValueError("images must name an image or a folder")
    if settings.model == "none":
        raise ValueError(f"model must name what predicts: {loading.MODEL_HELP}")
    sheet = Path(settings.contact_sheet).suffix.lower()
    if settings.contact_sheet != "none" and sheet != ".png":
        raise ValueError(f"contact_sheet must end in .png, got {settings.contact_sheet!r}")
    signal.signal(signal.SIGTERM, _stop)  # so that no half of a table is left behind
    for line in _predict(settings, places):
        click.echo(line)


def _stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _predict(settings: Settings, places: Sequence[str]) -> list[str]:
    from imbalance_study.inference import explain as explaining
    from imbalance_study.inference import table as prediction_table

    out = Path(settings.out).expanduser()
    prediction_table.ending(out)
    total = sum(1 for _ in explaining.walk(places))
    if not total:
        raise explaining.nothing(places)
    ready = loading.ready(settings.model, settings.tracking_uri)
    facts = {
        "model": settings.model,
        "class_names": list(ready.class_names),
        "reject_below": settings.reject_below,
    }
    tally = _Tally(ready, settings.reject_below)
    with prediction_table.table(out, ready.class_names, facts) as write:
        for piece in _pieces(settings, ready, places, total):
            write(prediction_table.columns_of(piece, ready.class_names, settings.reject_below))
            tally.add(piece)
        tally.refuse_nothing_read()
        if settings.contact_sheet != "none":
            _draw(Path(settings.contact_sheet).expanduser(), tally.sample, ready, settings)
    return tally.lines(out)


def _pieces(settings: Settings, ready: LoadedModel, places: Sequence[str], total: int) -> Any:
    """The pieces, with a bar that shows images per second."""
    from tqdm import tqdm

    from imbalance_study.config.schema import Config
    from imbalance_study.inference import explain as explaining
    from imbalance_study.inference import predict as labelling

    pieces = labelling.predict_files(
        ready,
        explaining.walk(places),
        batch_size=settings.batch_size,
        workers=settings.workers,
        device=resolve_device(Config(device=settings.device)).device.type,
    )
    with tqdm(total=total, desc="labelling", unit="img", delay=1, disable=None) as bar:
        for piece in pieces:
            yield piece
            bar.update(len(piece.files))


class _Tally:
    """Counts what goes by, names the files that could not be read, and keeps some images."""

    def __init__(self, ready: LoadedModel, reject_below: float) -> None:
        from imbalance_study.inference.predict import ReservoirSample

        self.sample: ReservoirSample = ReservoirSample(_SHEET)
        self._names = [str(name) for name in ready.class_names]
        self._reject_below = reject_below
        self._labels: Counter[int] = Counter()
        self._files = self._bad = self._rejected = 0
        self._begun = time.perf_counter()

    def add(self, piece: FilePredictions) -> None:
        """Count a piece."""
        from imbalance_study.data.image_folder import readable

        for file, error in zip(piece.files, piece.errors, strict=True):
            if error:
                self._bad += 1
                if self._bad <= _NAMED:
                    click.echo(f"cannot be read: {readable(file)} ({error})", err=True)
        if len(piece.images):
            sure = piece.probs[:, 0] >= self._reject_below
            self._labels.update(piece.classes[sure, 0].tolist())
            self._rejected += int((~sure).sum())
        self._files += len(piece.files)
        self.sample.add(piece)

    def refuse_nothing_read(self) -> None:
        """Raise ValueError when no file could be read."""
        if self._bad == self._files:
            raise ValueError(f"none of the {self._files:,} files could be read as an image")

    def lines(self, out: Path) -> list[str]:
        """How many of what, how fast, and where."""
        seconds = time.perf_counter() - self._begun
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
            lines.append(f"{self._bad:,} unreadable: the column error says why")
        rate = self._files / seconds
        lines.append(f"{self._files:,} files in {seconds:.1f} s, {rate:,.0f} images/s")
        return [*lines, f"Written to {out.absolute()}"]


def _draw(path: Path, sample: ReservoirSample, ready: LoadedModel, settings: Settings) -> None:
    import numpy as np

    from imbalance_study import files
    from imbalance_study.evaluation.figures import contact_sheet as contact_sheet_figures

    figure = contact_sheet_figures.contact_sheet(
        np.stack(sample.images),
        [Path(file).name for file in sample.files],
        np.array(sample.classes),
        np.array(sample.probs),
        [str(name) for name in ready.class_names],
        f"{len(sample.images)} of {sample.seen:,} images, as the model sees them",
        settings.reject_below,
    )
    with files.replacing(path) as partial:
        figure.savefig(partial, format="png")


options(Settings)(command)
