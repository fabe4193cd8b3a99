"""Everything that is to be measured on a GPU, most valuable first, in calls of nine minutes.

    python benchmarks/gpu_kit.py --data_dir DIR --out gpu_results
    python benchmarks/gpu_kit.py --rehearse --out gpu_rehearsal

Each call goes on where the one before was stopped: rows and checkpoints are kept in --out, each row
once it is measured. The first step compares captured updates with launched ones; only where all are
equal are the others captured. The tables for docs/performance.md and docs/results.md are printed
last, and written to tables.md. Needs torch, torchvision, scikit-learn, pandas and matplotlib; no
MLflow, and this project need not be installed. --archives names a folder of NAME.tar.xz or .tar.gz
to unpack into --data_dir where NAME is missing there. --copy_to gets the rows and tables after each
step, for a machine that is given back: with them in --out, another machine goes on.

--rehearse takes the same steps on a processor with tiny budgets, to see that they work.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import gpu_sharing

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))  # the project need not be installed
_GRACE = 10.0  # seconds for a step that has to end
_PROBE = "probe.json"  # as gpu_tables.PROBE


class Step(NamedTuple):
    """A command of the kit."""

    name: str
    script: str
    words: list[str]
    tiny: list[str]  # instead of them in a rehearsal: added behind, or for --budget alone
    model: str = "resnet32"  # whose verdict of the probe it trains with
    parallel: bool = False
    tolerated: bool = False  # its failure is a result, not an error


_FIRST = "paper_ce|paper_balanced_softmax|paper_ldam_drw|paper_mixup_drw"
_THEN = "paper_drw|paper_mislas|paper_crt|paper_cb_focal"
_REST = "paper_sigmoid_focal|paper_cb_softmax"
_TABLE = ["--jpeg_copy"]
_SMALL = ["--epochs", "1", "--set", "steps_per_epoch=2", "--set", "image_size=16", "--model",
          "resnet20", "--set", "batch_size=16"]  # fmt: skip
# In a rehearsal: P11a predicts 60,000 images.
_FIGURES = "P1,P2a,P2b,P12,P3,P4,P5,P6,P7a,P7b,P8,P9,P10,gap,child,P11b"
_ROWS = "without balancing|oversampling|class-balanced focal"


def steps() -> list[Step]:
    """List the steps, in their order."""
    table = [*_TABLE, "--seeds"]
    strong = [*_TABLE, "--recipes", "strong", "--seeds", "1", "--ratios"]
    return [
        Step("equality", "gpu_equality.py", [],
             ["--device", "cpu", "--updates", "2",
              "--cases", "plain|resumed after the first epoch"],
             tolerated=True),
        Step("smoke", "paper_table.py",
             ["--recipes", "paper_ce|paper_crt|strong", "--ratios", "100", "--seeds", "1",
              "--epochs", "1", "--set", "steps_per_epoch=20"], _SMALL),
        Step("probe", "gpu_probe.py", [],
             ["--windows", "1", "--steps", "1", "--models", "resnet32", "--processes", "1|2"]),
        Step("recipes 1", "paper_table.py", [*table, "1", "--recipes", _FIRST], _SMALL,
             parallel=True),
        Step("recipes 2", "paper_table.py", [*table, "1", "--recipes", _THEN], _SMALL,
             parallel=True),
        Step("strong", "paper_table.py", [*strong, "100"], _SMALL, model="resnet18, strong"),
        Step("performance", "run.py", ["--full", "--resume"],
             ["--windows", "1", "--steps", "1", "--only", _FIGURES]),
        Step("recipes 3", "paper_table.py", [*table, "1", "--recipes", _REST], _SMALL,
             parallel=True),
        Step("cifar10", "all_of_cifar10.py", ["--seeds", "1"], _SMALL,
             model="resnet18, strong", parallel=True),
        Step("seeds", "paper_table.py", [*table, "3", "--recipes", _FIRST], _SMALL,
             parallel=True),
        Step("halved", "halved.py", [*_TABLE, "--seeds", "1", "--rows", _ROWS],
             ["--budget", "2"], parallel=True),
        Step("strong 50", "paper_table.py", [*strong, "50"], _SMALL, model="resnet18, strong"),
        Step("strong 10", "paper_table.py", [*strong, "10"], _SMALL, model="resnet18, strong"),
        Step("logit adjusted", "paper_table.py",
             [*table, "1", "--recipes", "paper_logit_adjusted"], _SMALL),
    ]  # fmt: skip


class Kit:
    """The steps, their folder, and what is done of them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.out: Path = options.out
        self.out.mkdir(parents=True, exist_ok=True)
        self.begun = time.monotonic()
        self.state: dict[str, Any] = {"done": {}, "equal": False}
        if self._file.exists():
            self.state = json.loads(self._file.read_text())

    @property
    def _file(self) -> Path:
        return self.out / "kit.json"

    @property
    def left(self) -> float:
        """Seconds that this call still has."""
        return float(self.options.seconds) - (time.monotonic() - self.begun)

    def run(self) -> int:
        """Run what is not done, as long as there is time; return how many steps failed."""
        failed = 0
        for step in steps():
            if step.name in self.state["done"] or step.name in self.options.skip.split("|"):
                continue
            if self.left < _GRACE:
                print("the time of this call is over; the same command goes on", flush=True)
                break
            failed += not self._take(step)
        print(self._report(), flush=True)
        return failed

    def _report(self) -> str:
        import gpu_tables

        text = gpu_tables.report(self.out, self.state)
        self._copy()
        return text

    def _take(self, step: Step) -> bool:
        """Run a step; tell whether it is done, or was stopped by the clock."""
        command = [sys.executable, str(HERE / step.script), *self._words(step)]
        print(f"== {step.name}: {' '.join(command[1:])}", flush=True)
        begun = time.monotonic()
        code = _run(command, self.left - _GRACE, self.out / "log.txt")
        self._copy()
        seconds = time.monotonic() - begun
        if code is None:
            print(f"== {step.name}: stopped after {seconds:.0f} s; goes on later", flush=True)
            return True
        print(f"== {step.name}: {'done' if code == 0 else 'FAILED'} in {seconds:.0f} s", flush=True)
        if step.name == "equality":
            self.state["equal"] = code == 0 and not self.options.rehearse
        if code == 0 or step.tolerated:
            self.state["done"][step.name] = round(seconds, 1)
            self._file.write_text(json.dumps(self.state, indent=1))
            self._copy()
        return code == 0 or step.tolerated

    def _copy(self) -> None:
        """Copy rows and verdicts to where they outlast the machine."""
        folder = self.options.copy_to
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        for path in (*self.out.glob("*.json*"), self.out / "tables.md"):
            if path.exists():
                shutil.copy(path, folder)

    def _words(self, step: Step) -> list[str]:
        """Complete the words of a step: where it reads and writes, and how it computes."""
        rehearse, words = self.options.rehearse, list(step.words)
        if rehearse:
            words += step.tiny
        if step.script == "gpu_equality.py":
            return words
        # Noise serves for a rehearsal of speed: 60,000 images take their time to load.
        if self.options.data_dir and not (rehearse and step.script in ("run.py", "gpu_probe.py")):
            words += ["--data_dir", self.options.data_dir]
        if step.script == "gpu_probe.py":
            graph = ["--graph"] if self.state["equal"] else []
            return [*words, *graph, "--out", str(self.out / _PROBE)]
        if step.script == "run.py":
            graph = ["--graph"] if self.state["equal"] else []
            return [*words, *graph, "--out", str(self.out / "performance.json")]
        words += ["--out", str(self.out / self._file_of(step))]
        words += ["--checkpoints", str(self.out / "checkpoints"), *self._how(step)]
        if rehearse and not self._real and step.script != "halved.py":
            words += ["--set", "dataset=digits"]
        return words

    @property
    def _real(self) -> bool:
        return Path(self.options.data_dir, "cifar10").is_dir()

    @staticmethod
    def _file_of(step: Step) -> str:
        return "smoke.jsonl" if step.name == "smoke" else step.script.replace(".py", ".jsonl")

    def _how(self, step: Step) -> list[str]:
        """Return precision, memory format, capture and number of processes, by the probe."""
        probe = self.out / _PROBE
        device = ["--device", "cpu"] if self.options.rehearse else ["--device", "cuda"]
        if not probe.exists() or step.name == "smoke":
            return device
        found = json.loads(probe.read_text())
        way = found["verdict"].get(step.model, {})
        words = device + [word for pair in way.items() for word in ("--set", "=".join(pair))]
        count = 2 if self.options.rehearse else int(found.get("processes", 4))
        return [*words, "--parallel", str(count)] if step.parallel and count > 1 else words


def _run(command: list[str], seconds: float, log: Path) -> int | None:
    """Run a command for so many seconds at most; None where it was stopped.

    Its output goes to the terminal and to a log. All its processes end with it.
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)])}
    with log.open("a") as file:
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, process_group=0,
        )  # fmt: skip
        deadline = _Deadline(process, seconds)
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            file.write(line)
        code = process.wait()
    return None if deadline.passed() else code


class _Deadline:
    """Ends a process and its children after some seconds."""

    def __init__(self, process: subprocess.Popen[str], seconds: float) -> None:
        import threading

        self._process, self._over = process, False
        self._timer = threading.Timer(max(0.1, seconds), self._end)
        self._timer.daemon = True
        self._timer.start()

    def _end(self) -> None:
        self._over = True
        for sent in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, sent)
            except ProcessLookupError:
                return
            time.sleep(_GRACE / 2)

    def passed(self) -> bool:
        """Tell whether the process was ended, and let it be from now on."""
        self._timer.cancel()
        return self._over


def unpack(archives: Path, data_dir: Path) -> None:
    """Unpack each archive whose folder is missing."""
    for archive in sorted([*archives.glob("*.tar.xz"), *archives.glob("*.tar.gz")]):
        name = archive.name.split(".")[0]
        if not (data_dir / name).is_dir():
            print(f"unpacking {archive.name}", flush=True)
            data_dir.mkdir(parents=True, exist_ok=True)
            with tarfile.open(archive) as file:
                file.extractall(data_dir, filter="data")


def main(words: list[str] | None = None) -> int:
    """Run the kit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", default="", help="folder with cifar10/ and flowers/")
    parser.add_argument("--archives", type=Path, default=None, help="folder of archives")
    parser.add_argument("--out", type=Path, default=Path("gpu_results"))
    parser.add_argument("--copy_to", type=Path, default=None, help="folder for the results")
    parser.add_argument("--seconds", type=float, default=540, help="of this call")
    parser.add_argument("--skip", default="", help="names of steps, apart by |")
    parser.add_argument("--rehearse", action="store_true", help="tiny budgets on a processor")
    options = parser.parse_args(words)
    if options.rehearse and "--seconds" not in (words or sys.argv):
        options.seconds = 900
    if options.archives is not None:
        options.data_dir = options.data_dir or "data"
        unpack(options.archives, Path(options.data_dir))
    with gpu_sharing.mps(enabled=not options.rehearse):
        return min(Kit(options).run(), 1)


if __name__ == "__main__":
    raise SystemExit(main())
