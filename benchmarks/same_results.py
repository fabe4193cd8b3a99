"""Show whether two trees of the code give the same results, through the command line alone.

    nice python benchmarks/same_results.py run --out /tmp/before --tree /path/to/old/tree
    nice python benchmarks/same_results.py run --out /tmp/after
    python benchmarks/same_results.py compare /tmp/before.json /tmp/after.json

`run` trains tiny configurations that between them touch every part of the product, with one thread
on the processor and with nothing that a clock decides, into a store of its own. OUT.json then holds
`results` (metrics, weights, tables, predictions: what must be equal bit by bit) and `records`
(params, names of artifacts, figures, what is printed). A run takes about nine
minutes on an idle core; both must be made on the same machine with the same packages.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import mlflow
import numpy as np
import torch
from content_differences import Content, compare_files, digest
from mlflow.entities import Run
from PIL import Image
from run_contents import (
    CLOCK_FIGURES,
    RENAMED,
    TAGS,
    columns,
    files,
    finals,
    history,
    params,
    sha256,
    stable,
    tables,
    weights,
)

COMMON = {
    "dataset": "digits",
    "image_size": "16",
    "model": "resnet20",
    "epochs": "3",
    "steps_per_epoch": "8",
    "batch_size": "32",
    "seed": "1",
    "analyses": "predictions",
    "device": "cpu",
    "system_metrics": "false",
    "cache_dir": "cache",
    "auto_precision": "false",
    "decode_workers": "1",
}

# Name to options; {name} is the id of the run of another training, which comes before it.
TRAININGS = {
    "focal": "loss=focal:gamma=2 sampler=power:q=0.5 defer=0.5 ema=true ema_decay=0.9 "
    "augment=crop+flip+trivial_augment+cutout",
    "ldam_recipe": "recipe=paper_ldam_drw model=resnet32 epochs=3 steps_per_epoch=2",
    "balanced_softmax": "loss=balanced_softmax mix=mixup:alpha=0.4 optimizer=sgd:sam=0.05 "
    "model=custom_cnn:dropout=0.1,se=true label_smoothing=0",
    "logit_adjusted": "loss=logit_adjusted:tau=1 mix=remix schedule=step:milestones=0.5 "
    "augment=rand_augment+rotation+rotate90 select_by=val/macro_f1",
    "vs_lr_auto": "loss=vs mix=cutmix validation=balanced:per_class=5 optimizer=adam lr=auto "
    "schedule=cosine_restarts imbalance=step:ratio=5 class_order=size",
    "sigmoid_focal": "loss=sigmoid_focal:gamma=1 class_weights=effective:beta=0.999 defer=0.5 "
    "head=mlp:hidden=16,dropout=0.2 normalisation=imagenet",
    "error_driven": "sampler=error_driven:floor=0.2 schedule=plateau grad_clip=1 epochs=4 "
    "early_stopping=val/balanced_accuracy:patience=1 tail_augment=trivial label_smoothing=0.1 "
    "optimizer=rmsprop",
    "progressive": "sampler=progressive supcon=0.5 hard_fraction=0.7 augment=auto_augment+crop",
    "smote_crt": "resample=smote:k=3 loss=sigmoid stage2=crt:epochs=1 epochs=2 class_order=random",
    "lws": "sampler=class_balanced validation=none select_by=last stage2=lws:epochs=1",
    "las_all_analyses": "stage2=las:epochs=1 analyses=all figure_every=1 gradcam_layers=all "
    "class_weights=inverse_sqrt",
    "autoencoder_joint": "model=unet:width=8 autoencoder=joint:weight=1 head=linear epochs=2 "
    "figure_every=1 sampler=random_over",
    "autoencoder_separate": "model=mobilenet_v2_autoencoder autoencoder=separate epochs=1 "
    "steps_per_epoch=2 image_size=32",
    "efficientnet": "model=efficientnet_b0 epochs=1 image_size=32 "
    "steps_per_epoch=2 batch_size=16 loss=label_aware_smoothing memory_format=contiguous",
    "gradual": "weights=runs:/{focal} freeze=gradual backbone_lr=0.1 epochs=3 seed=2",
    "partial_imagefolder": "dataset=imagefolder data_dir=folder on_bad_image=skip epochs=3 "
    "weights=runs:/{focal} freeze=partial:blocks=1 batch_size=8",
    "csv": "dataset=csv data_dir=table.csv sampler=random_under batch_size=auto image_size=24 "
    "steps_per_epoch=0 test_fraction=0.3 class_weights=balanced allow_double_correction=true",
}
NEEDS = {"gradual": "focal", "partial_imagefolder": "focal", "tools": "partial_imagefolder"}


def free(key: str, taken: Content) -> str:
    """Number a key that is taken."""
    numbered = (key if n == 1 else f"{key} #{n}" for n in range(1, len(taken) + 2))
    return next(one for one in numbered if one not in taken)


class Bench:
    """A scratch folder with a store, and the product of one tree working in it.

    Args:
        folder: Is made; must not be there yet.
        tree: The root of the tree whose code runs.
    """

    def __init__(self, folder: Path, tree: Path) -> None:
        self.folder, self.tree = folder, tree
        folder.mkdir(parents=True)
        self.address = f"sqlite:///{folder / 'mlflow.db'}"
        self.client = mlflow.MlflowClient(self.address)
        kept = {name: v for name, v in os.environ.items() if not name.startswith("MLFLOW_")}
        self.environment = kept | {
            "PYTHONPATH": str(tree),
            "IMBALANCE_STUDY_CACHE": str(folder / "cache"),
            "CUDA_VISIBLE_DEVICES": "",
            **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"),
        }
        self.ids: dict[str, str] = {}
        self.results: dict[str, Any] = {}
        self.records: dict[str, Any] = {}
        place = self.python("-c", "import imbalance_study as it; print(it.__file__)").strip()
        if not Path(place).is_relative_to(tree):
            sys.exit(f"Error: the code that runs is {place}, not that of {tree}")
        self.commands = self.product("--help")
        self._help = self.product("train", "--help")

    def python(self, *words: str) -> str:
        """Run Python in the folder; what it prints. Exits where the command fails."""
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            sys.exit(
                f"{done.stdout}{done.stderr}\nError: exit {done.returncode}: {' '.join(words)}"
            )
        return done.stdout

    def product(self, *words: str) -> str:
        """Run a command of the product; what it prints."""
        return self.python("-m", "imbalance_study", *words)

    def options(self, name: str, words: str) -> list[str]:
        """Make the words of a training, recorded in an experiment of the name."""
        values = COMMON | {"tracking_uri": self.address, "experiment": name}
        values |= dict(word.split("=", 1) for word in words.format(**self.ids).split())
        return [f"--{self._known(key)}={value}" for key, value in values.items()]

    def _known(self, option: str) -> str:
        """Find the name that an option has in this tree."""
        old = RENAMED.get(option, option)
        found = [one for one in (option, old) if re.search(rf"^ *--{one}\b", self._help, re.M)]
        if not found and option in RENAMED:
            sys.exit(f"Error: train has neither --{option} nor --{old}; see RENAMED")
        return found[0] if found else option

    def runs(self, name: str) -> list[Run]:
        """Read the runs of an experiment, in the order of their start."""
        experiment = self.client.get_experiment_by_name(name)
        order = ["attributes.start_time ASC"]
        return list(self.client.search_runs([experiment.experiment_id], order_by=order))

    def gather(self, name: str) -> None:
        """Take down all that the runs of an experiment left."""
        for run in self.runs(name):
            key = free(f"{name}: {run.info.run_name}", self.results)
            folder = Path(unquote(urlparse(run.info.artifact_uri).path))
            self.results[key] = {
                "status": run.info.status,
                "tags": {tag: run.data.tags[tag] for tag in TAGS if tag in run.data.tags},
                "metrics": history(self.client, run),
                "final": finals(folder),
                "weights": {file: weights(path) for file, path in files(folder, ".pt")},
                "tables": dict(tables(folder)),
            }
            self.records[key] = {
                "params": params(run),
                "artifacts": sorted({stable(file) for file, _ in files(folder, "")}),
                "figures": {
                    file: sha256(path.read_bytes())
                    for file, path in files(folder / "figures", ".png")
                    if not CLOCK_FIGURES.search(file)
                },
            }


def train(bench: Bench, name: str) -> None:
    """Train one of TRAININGS, and keep the id of its run."""
    bench.product("train", *bench.options(name, TRAININGS[name]))
    bench.ids[name] = bench.runs(name)[0].info.run_id


def resume(bench: Bench, name: str) -> None:
    """Kill a training once it has ended its second epoch, and go on with it."""
    words = bench.options(name, "epochs=8 ema=true ema_decay=0.9 figure_every=4 optimizer=sgd")
    process = subprocess.Popen(
        [sys.executable, "-m", "imbalance_study", "train", *words],
        cwd=bench.folder,
        env=bench.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    said = ""
    for line in process.stderr or ():
        said += line
        if line.startswith("epoch 2/"):
            break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    if process.returncode != -signal.SIGKILL:
        sys.exit(f"{said}\nError: the training ended before it could be killed")
    (run,) = bench.runs(name)
    places = (f"--tracking_uri={bench.address}", "--cache_dir=cache")
    bench.product("resume", run.info.run_id, *places)


def offline(bench: Bench, name: str) -> None:
    """Train without MLflow, and tell it afterwards."""
    bench.product("train", *bench.options(name, "tracking=offline loss=ldam:max_m=0.3"))
    bench.product("sync", f"--tracking_uri={bench.address}", "--cache_dir=cache")


def distribute(bench: Bench, name: str) -> None:
    """Train in two processes."""
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    words = bench.options(name, "class_weights=balanced mix=mixup")
    bench.python(*launch, "-m", "imbalance_study", "train", *words)


def compare_losses(bench: Bench, name: str) -> None:
    """Compare two losses over two seeds."""
    looks = "predictions+intervals+confusion+errors+curves+calibration+pca+gradcam"
    own = f"vary=loss=cross_entropy|focal:gamma=1 seeds=2 baseline=focal:gamma=1 analyses={looks}"
    bench.product("compare", *bench.options(name, own))


def search(bench: Bench, name: str) -> None:
    """Search with four trials, and train the winner with one seed."""
    own = "study=same trials=4 winner_seeds=1 search=loss|sampler|optimizer study_seed=3"
    words = bench.options(name, own)
    # A study has an option `workers` of its own, which counts processes.
    bench.product("study", *(word for word in words if not word.startswith("--workers=")))


def use(bench: Bench, name: str) -> None:
    """Use a finished run: everything that takes a trained model, or none."""
    run, store = bench.ids["partial_imagefolder"], f"--tracking_uri={bench.address}"
    images = bench.folder / "folder"
    seen, said = bench.results.setdefault(name, {}), bench.records.setdefault(name, {})
    said["recipes"] = sha256(bench.product("recipes"))
    said["promote"] = len(bench.product("promote", run, "--name=same", store).splitlines())
    for model, out in (("models:/same@champion", "a.csv"), (f"runs:/{run}", "b.parquet")):
        bench.product(
            *("predict", f"--model={model}", store, "--images=folder", f"--out={out}"),
            *("--device=cpu", "--reject_below=0.5", "--contact_sheet=sheet.png"),
        )
    seen["predict csv"] = sha256((bench.folder / "a.csv").read_bytes())
    seen["predict parquet"] = columns(bench.folder / "b.parquet")
    said["contact sheet"] = sha256((bench.folder / "sheet.png").read_bytes())
    few = [f"folder/red/{number:02}.png" for number in range(3)]
    text = bench.product("explain", f"--run={run}", store, "--images", *few, "--out=explained")
    seen["explain"] = text.splitlines()[: len(few)]
    said["explained"] = {
        file: sha256(path.read_bytes()) for file, path in files(bench.folder / "explained", "")
    }
    seen["export"] = export(bench, bench.ids["focal"])
    seen["export int8"] = export(bench, run, "--format=int8", "--images=folder", "--limit=40")
    seen["served"] = sha256(served_outputs(bench, run, images))
    text = bench.product("find_lr", *bench.options(name, "optimizer=sgd"), "--figure=lr.png")
    seen["find_lr"] = text.partition(";")[0]
    said["find_lr"] = sha256((bench.folder / "lr.png").read_bytes())
    write_report(bench, run)


def pixels(folder: Path) -> np.ndarray[Any, Any]:
    """Read a few of the images that were made, at the size that the models take."""
    paths = [path for _, path in files(folder / "green", ".png")][:4]
    return np.stack([np.asarray(Image.open(path).resize((16, 16))) for path in paths])


def export(bench: Bench, run: str, *words: str) -> list[str]:
    """Export a model; what is said of it, and the digest of its probabilities."""
    place = bench.folder / "model.onnx"
    store = f"--tracking_uri={bench.address}"
    least = "--min_agreement=0"
    text = bench.product("export", f"--model={run}", store, f"--out={place}", least, *words)
    said = [line for line in text.splitlines() if not line.startswith(("Written", "time", "size"))]
    return [*said, sha256(onnx_outputs(place, bench.folder / "folder"))]


def onnx_outputs(model: Path, folder: Path) -> bytes:
    """Compute the probabilities that an exported model gives, with one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, ["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: pixels(folder)})
    return b"".join(np.asarray(one).tobytes() for one in found)


def served_outputs(bench: Bench, run: str, folder: Path) -> bytes:
    """Compute the probabilities that the logged model of a run gives, as MLflow would serve it."""
    torch.set_num_threads(1)
    mlflow.set_tracking_uri(bench.address)
    outputs = bench.client.get_run(run).outputs.model_outputs
    model = mlflow.pyfunc.load_model(f"models:/{outputs[0].model_id}")
    return np.asarray(model.predict(pixels(folder))).tobytes()


def write_report(bench: Bench, run: str) -> None:
    """See that a report can be written of a run and of an experiment; its text has times in it."""
    own = ("-m", "imbalance_study", "report")
    if not re.search(r"^ *report\b", bench.commands, re.M):
        own = (str(bench.tree / "analysis" / "report.py"),)
    where = (f"--tracking_uri={bench.address}", "--log=false")
    bench.python(*own, f"--run={run}", "--out=report_of_run", *where)
    bench.python(*own, "--experiment=focal", "--out=report_of_all", *where)


OTHERS: dict[str, Callable[[Bench, str], None]] = {
    "resume": resume,
    "offline": offline,
    "distributed": distribute,
    "comparison": compare_losses,
    "study": search,
    "tools": use,
}
CASES = {**dict.fromkeys(TRAININGS, train), **OTHERS}


def make_images(folder: Path) -> None:
    """Write a folder of class folders with an unreadable file, and a table of the same images."""
    random = np.random.default_rng(5)
    rows = []
    for label, count in {"blue": 10, "green": 20, "red": 40}.items():
        (folder / "folder" / label).mkdir(parents=True)
        for number in range(count):
            image = random.integers(0, 120, (20, 28, 3), np.uint8)
            image[..., ("red", "green", "blue").index(label)] += 100
            file = f"folder/{label}/{number:02}.png"
            Image.fromarray(image).save(folder / file)
            rows.append((file, label, f"{label}{number // 2}"))
    (folder / "folder" / "red" / "broken.png").write_text("no image")
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label", "group"), *rows])


def run_cases(out: Path, tree: Path, only: list[str]) -> None:
    """Run all cases, or some with what they need, and write what came out beside the folder."""
    if out.exists():
        sys.exit(f"Error: {out} is there already; a run needs a folder of its own")
    wanted = set(only or CASES)
    while missing := {NEEDS[name] for name in wanted if name in NEEDS} - wanted:
        wanted |= missing
    bench = Bench(out, tree)
    make_images(out)
    for name, case in CASES.items():
        if name in wanted:
            begun = time.monotonic()
            case(bench, name)
            if case is not use:
                bench.gather(name)
            print(f"{name:22} {time.monotonic() - begun:5.1f} s", flush=True)
    place = Path(f"{out}.json")
    content = {"results": bench.results, "records": bench.records}
    place.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", "utf-8")
    print(f"{digest(bench.results)}  results of {place}")


def main(words: list[str] | None = None) -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run", help="run the cases with one tree")
    one.add_argument("--out", type=Path, required=True, help="a new folder; OUT.json is written")
    few = "some cases, and what they need"
    one.add_argument("--only", nargs="+", choices=CASES, default=[], metavar="NAME", help=few)
    tree = Path(__file__).parents[1]
    one.add_argument("--tree", type=Path, default=tree, help="root of the tree; default: this one")
    two = commands.add_parser("compare", help="compare what two trees gave")
    two.add_argument("before", type=Path)
    two.add_argument("after", type=Path)
    two.add_argument("--most", type=int, default=40, help="differences of a section that are shown")
    two.add_argument("--common", action="store_true", help="only the runs that both files hold")
    asked = parser.parse_args(words)
    if asked.command == "compare":
        return compare_files(asked.before, asked.after, asked.most, common=asked.common)
    run_cases(asked.out.absolute(), asked.tree.resolve(), asked.only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
