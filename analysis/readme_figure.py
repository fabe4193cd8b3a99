"""Draw the README's picture: three losses on long-tailed digits, compared over three seeds.

python analysis/readme_figure.py docs/images/comparison.png

Trains nine small networks in a temporary store, which takes some minutes on one core.
"""

import contextlib
import sys
import tempfile
from pathlib import Path

from imbalance_study import ComparisonSettings, compare

OPTIONS = {
    "dataset": "digits",
    "model": "resnet20",
    "image_size": "16",
    "imbalance_ratio": "20",
    "epochs": "20",
    "analyses": "predictions",
    "system_metrics": "false",
    "device": "cpu",
}


def draw(path: Path) -> None:
    """Compare the losses, and write the figure of their headline metrics as a PNG."""
    settings = ComparisonSettings(vary="loss=cross_entropy|focal|balanced_softmax", seeds=3)
    path = path.absolute()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        comparison = compare(settings, OPTIONS | {"tracking_uri": "sqlite:///mlflow.db"})
    assert comparison is not None  # this is no dry run
    path.parent.mkdir(parents=True, exist_ok=True)
    comparison.figures["comparison/headline"].savefig(path, dpi=200)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
