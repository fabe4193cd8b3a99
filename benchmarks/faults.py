"""Plants faults into trainings, looks at what is left, and writes the table of docs/reliability.md.

    python benchmarks/faults.py                 # 20 kills, 30 s of silence: 25 minutes or more
    python benchmarks/faults.py --kills 2 --pause 5 --only "SIGTERM|SIGINT"

Every training is `imbalance-study train` on the digits, in a process of its own, with a cache, a
store and servers of its own. A full disk is a tmpfs where one may be mounted, else a limit on the
size of files.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mlflow import MlflowClient
from servers import MLflowServer, Postgres
from trainings import EPOCHS, TINY, TRAIN, Bench, Row, missing, only_run, rest, until_epoch, verdict

DOCUMENT = Path(__file__).parents[1] / "docs" / "reliability.md"


def kill_training(bench: Bench) -> Row:
    fault = f"kill -9 of the training at {bench.options.kills} random moments, then resume"
    promise = "the same run goes on; its metrics equal those of an unbroken one bit for bit"
    if not bench.resumes():
        return Row(fault, promise, "not measured: there is no resume", False)
    reference = bench.folder / "reference.db"
    began = time.monotonic()
    bench.run(*TRAIN, f"--tracking_uri=sqlite:///{reference}")
    whole = time.monotonic() - began
    wanted = only_run(f"sqlite:///{reference}").data.metrics
    differing, lost = 0, []
    for number in range(bench.options.kills):
        address = f"sqlite:///{bench.folder / f'{number}.db'}"
        process = bench.begin(*TRAIN, f"--tracking_uri={address}")
        until_epoch(process, 1)
        time.sleep(bench.draw.uniform(0, 0.7 * whole))
        process.kill()
        rest(process)
        run = only_run(address)
        if run.info.status != "FINISHED":
            status, said = bench.run("resume", run.info.run_id, f"--tracking_uri={address}")
            if status:
                lost.append(said.splitlines()[-1])
                continue
        found = only_run(address).data.metrics
        timeless = [name for name in wanted if not name.startswith(("time/", "cost/", "system/"))]
        differing += any(repr(found.get(name)) != repr(wanted[name]) for name in timeless)
        lost += missing(address)
    seen = f"{differing} of {bench.options.kills} differ; " + verdict(lost)
    return Row(fault, promise, seen, not differing and not lost)


def truncated_checkpoint(bench: Bench) -> Row:
    fault, promise = "a truncated checkpoint", "resume takes the one before, or says so in a line"
    if not bench.resumes():
        return Row(fault, promise, "not measured: there is no resume", False)
    process = bench.begin(*TRAIN, f"--tracking_uri={bench.store()}")
    until_epoch(process, 5)
    process.kill()
    rest(process)
    run = only_run(bench.store()).info.run_id
    kept = (bench.folder / "cache" / "runs" / run / "checkpoints").glob("*")
    newest = max(kept, key=lambda path: path.stat().st_mtime)
    os.truncate(newest, newest.stat().st_size // 2)
    status, said = bench.run("resume", run)
    lacks = missing(bench.store())
    return Row(fault, promise, f"exit {status}; {verdict(lacks)}", not lacks or _clear(said))


def _clear(said: str) -> bool:
    return "Traceback" not in said and "Error: " in said


def _outage(bench: Bench, name: str, killed: MLflowServer | Postgres, address: str) -> Row:
    pause = bench.options.pause
    process = bench.begin(*TRAIN, f"--tracking_uri={address}", f"--epochs={4 * EPOCHS}")
    until_epoch(process, 4)
    killed.kill()
    began = time.monotonic()
    while time.monotonic() - began < pause and process.poll() is None:
        time.sleep(0.5)
    killed.start()
    status, said = rest(process)
    synced = "Upload it with" in said
    if synced:
        bench.run("sync")
    lacks = missing(address, 4 * EPOCHS)
    way = "sync told MLflow the rest" if synced else "caught up by itself"
    return Row(
        f"kill -9 of {name} during a run, restarted after {pause:g} s",
        "training goes on; what MLflow missed reaches it once, in order",
        f"exit {status}, {way}; {verdict(lacks)}",
        not status and not lacks,
    )


def kill_server(bench: Bench) -> Row:
    with bench.server() as server:
        return _outage(bench, "the server", server, server.address)


def kill_postgres(bench: Bench) -> Row:
    database = Postgres(bench.folder / "postgres").start()
    try:
        return _outage(bench, "PostgreSQL", database, database.address)
    finally:
        database.kill()


def _outage_of_many(bench: Bench, what: str, at: str, expected: int, *words: str) -> Row:
    """The server is killed once a line begins with `at`."""
    pause = bench.options.pause
    with bench.server() as server:
        process = bench.begin(*words, *TINY, f"--tracking_uri={server.address}")
        said = ""
        for line in process.stdout or ():
            said += line
            if line.startswith(at):
                break
        server.kill()
        time.sleep(pause)
        server.start()
        status, more = rest(process)
        lacks = _missing_of_many(server.address, expected)
    return Row(
        f"kill -9 of the server during {what}, restarted after {pause:g} s",
        "it goes on; every run ends FINISHED, and none is there twice",
        f"exit {status}, {expected} runs expected; {verdict(lacks)}",
        not status and not lacks and "Traceback" not in said + more,
    )


def _missing_of_many(address: str, expected: int) -> list[str]:
    client = MlflowClient(address)
    found = client.search_runs([one.experiment_id for one in client.search_experiments()])
    names = {run.info.run_name for run in found}
    unfinished = [run.info for run in found if run.info.status != "FINISHED"]
    lacks = [f"{info.run_name} is {info.status}" for info in unfinished]
    if (len(found), len(names)) != (expected, expected):
        lacks.append(f"{len(found)} runs of {len(names)} names")
    for run in found:
        for name in run.data.metrics:
            steps = [one.step for one in client.get_metric_history(run.info.run_id, name)]
            if len(set(steps)) != len(steps):
                lacks.append(f"{name} of {run.info.run_name} at steps {steps}")
    return lacks


def kill_server_of_comparison(bench: Bench) -> Row:
    words = ("compare", "--vary=loss=cross_entropy|focal|balanced_softmax", "--seeds=1")
    return _outage_of_many(bench, "a comparison of 3 runs", "[1/3]", 4, *words)


def kill_server_of_study(bench: Bench) -> Row:
    words = ("study", "--study=s", "--search=loss", "--trials=4", "--winner_seeds=1")
    return _outage_of_many(bench, "a study of 4 trials", "trial   0", 6, *words)


def server_gone(bench: Bench) -> Row:
    with bench.server() as server:
        process = bench.begin(*TRAIN, f"--tracking_uri={server.address}")
        until_epoch(process, 3)
        server.kill()
        status, said = rest(process)
        server.start()
        told = "Upload it with: imbalance-study sync" in said
        bench.run("sync")
        lacks = missing(server.address)
    return Row(
        "server gone for good, then sync",
        "the run ends well and says where its journal lies; sync uploads it",
        f"exit {status}, {'said so' if told else 'SILENT'}; {verdict(lacks)}",
        not status and told and not lacks,
    )


@contextlib.contextmanager
def small_disk(place: Path, megabytes: float) -> Iterator[bool]:
    """A tmpfs; False where none may be mounted."""
    place.mkdir(parents=True, exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={megabytes * 1024:.0f}k", "tmpfs", str(place)]
    mounted = subprocess.run(words, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(place)], check=False)


def full_disk_at_checkpoint(bench: Bench) -> Row:
    out = bench.folder / "out"
    with small_disk(out, 1.5) as mounted:
        words = [*TRAIN, f"--tracking_uri={bench.store()}", f"--output_dir={out}"]
        status, said = rest(bench.begin(*words, limit=0 if mounted else 1_000_000))
    run = only_run(bench.store()).info.status
    return Row(
        f"disk full while a checkpoint is written ({'tmpfs' if mounted else 'RLIMIT_FSIZE'})",
        "one line says so, the run is FAILED",
        f"exit {status}, run {run}: {said.splitlines()[-1].replace(str(bench.folder), '')}",
        run == "FAILED" and _clear(said),
    )


def full_disk_at_upload(bench: Bench) -> Row:
    artifacts = bench.folder / "server" / "artifacts"
    with small_disk(artifacts, 0.5) as mounted, bench.server() as server:
        fault = "disk of the server full while artifacts are uploaded, room made later, then sync"
        promise = "the run ends well and says where its journal lies; sync uploads it"
        if not mounted:
            return Row(fault, promise, "not measured: no tmpfs may be mounted", False)
        status, said = rest(bench.begin(*TRAIN, f"--tracking_uri={server.address}"))
        words = ["mount", "-o", "remount,size=200m", str(artifacts)]
        subprocess.run(words, check=True, capture_output=True)
        bench.run("sync")
        lacks = missing(server.address)
        told = "Upload it with" in said
        seen = f"exit {status}, {'said so' if told else 'SILENT'}; {verdict(lacks)}"
        return Row(fault, promise, seen, not status and told and not lacks)


def full_disk_of_the_journal(bench: Bench) -> Row:
    cache = bench.folder / "cache"
    with small_disk(cache, 1.0) as mounted:
        process = bench.begin(
            *TRAIN, f"--tracking_uri={bench.store()}", limit=0 if mounted else 1_000_000
        )
        status, said = rest(process)
    run = only_run(bench.store()).info.status
    return Row(
        f"disk of the cache full ({'tmpfs' if mounted else 'RLIMIT_FSIZE'})",
        "the training is not stopped by its journal; what cannot be kept fails the run in a line",
        f"exit {status}, run {run}: {said.splitlines()[-1].replace(str(bench.folder), '')}",
        run == ("FAILED" if status else "FINISHED") and (_clear(said) or not status),
    )


def _signal(bench: Bench, number: signal.Signals) -> Row:
    process = bench.begin(*TRAIN, f"--tracking_uri={bench.store()}", f"--epochs={40 * EPOCHS}")
    until_epoch(process, 2)
    began = time.monotonic()
    process.send_signal(number)
    status, said = rest(process)
    seconds = time.monotonic() - began
    run = only_run(bench.store()).info.status
    return Row(
        number.name,
        "the run is KILLED, without a traceback",
        f"exit {status} after {seconds:.1f} s, run {run}",
        run == "KILLED" and status != 0 and "Traceback" not in said,
    )


def sigterm(bench: Bench) -> Row:
    return _signal(bench, signal.SIGTERM)


def sigint(bench: Bench) -> Row:
    return _signal(bench, signal.SIGINT)


def killed_and_reaped(bench: Bench) -> Row:
    process = bench.begin(*TRAIN, f"--tracking_uri={bench.store()}", f"--epochs={40 * EPOCHS}")
    until_epoch(process, 2)
    process.kill()
    rest(process)
    before = only_run(bench.store()).info.status
    bench.run("reap")
    after = only_run(bench.store()).info.status
    return Row(
        "kill -9 of the training, then reap",
        "reap finds the run and marks it FAILED",
        f"{before} before, {after} afterwards",
        (before, after) == ("RUNNING", "FAILED"),
    )


FAULTS: dict[str, Callable[[Bench], Row]] = {
    "SIGTERM": sigterm,
    "SIGINT": sigint,
    "reap": killed_and_reaped,
    "training": kill_training,
    "truncated": truncated_checkpoint,
    "server": kill_server,
    "postgres": kill_postgres,
    "comparison": kill_server_of_comparison,
    "study": kill_server_of_study,
    "gone": server_gone,
    "checkpoint_disk": full_disk_at_checkpoint,
    "artifact_disk": full_disk_at_upload,
    "journal_disk": full_disk_of_the_journal,
}


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Raw)
    parser.add_argument("--kills", type=int, default=20, help="of a training")
    parser.add_argument("--pause", type=float, default=30, help="seconds until a server is back")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    parser.add_argument("--only", default="", help="|".join(FAULTS))
    parser.add_argument("--out", type=Path, default=DOCUMENT, help="the page that is written")
    options = parser.parse_args(words)
    rows = []
    for name in options.only.split("|") if options.only else FAULTS:
        with tempfile.TemporaryDirectory(prefix="faults_") as folder:
            Path(folder).chmod(0o755)
            try:
                row = FAULTS[name](Bench(Path(folder), options))
            except Exception as error:
                row = Row(name, "-", f"{type(error).__name__}: {error}", False)
            rows.append(row)
        print(f"{name}: {row.seen}", flush=True)
    page = document(rows, words)
    options.out.write_text(page, "utf-8")
    print(page)
    return 0 if all(row.held for row in rows) else 1


_Raw = argparse.RawDescriptionHelpFormatter


def document(rows: list[Row], words: list[str]) -> str:
    lines = [
        "# Reliability",
        "",
        "What happens to a run when something breaks: each fault was planted into a training in a "
        "process of its own, and what was left was compared with the promise.",
        "",
        "| fault | promised | seen | held |",
        "|---|---|---|---|",
        *(
            "| "
            + " | ".join([*(_cell(text) for text in row[:3]), "yes" if row.held else "no"])
            + " |"
            for row in rows
        ),
        "",
        f"Made by `python benchmarks/faults.py {' '.join(words)}`".rstrip(" `") + "` on "
        f"{platform.system()}, Python {platform.python_version()}, {os.cpu_count()} cores.",
        "",
    ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")[:300]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
