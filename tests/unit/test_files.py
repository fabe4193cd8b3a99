import errno
import fcntl
import subprocess
import sys
import threading

import pytest

from imbalance_study import files

HOLDER = """
import sys, time
from pathlib import Path
from imbalance_study import files
with files.exclusive_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock ``lock``."""
    words = [sys.executable, "-c", HOLDER, str(tmp_path / "lock")]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_lock_of_another_process_is_an_error_until_that_process_is_killed(holder, tmp_path):
    path = tmp_path / "lock"
    with pytest.raises(BlockingIOError), files.exclusive_lock(path, wait=False):
        pass
    holder.kill()
    holder.wait()
    with files.exclusive_lock(path, wait=False):
        assert path.exists()


def test_who_waits_for_a_lock_gets_it_when_the_other_process_is_gone(holder, tmp_path):
    killer = threading.Timer(0.2, holder.kill)
    killer.start()
    with files.exclusive_lock(tmp_path / "lock"):
        assert holder.wait(10) != 0
    killer.join()


def test_a_lock_is_free_after_its_context_even_after_an_error(tmp_path):
    with pytest.raises(KeyError), files.exclusive_lock(tmp_path / "lock", wait=False):
        raise KeyError
    with files.exclusive_lock(tmp_path / "lock", wait=False):
        pass


def test_without_locks_in_the_file_system_the_work_goes_on(tmp_path, monkeypatch):
    def unsupported(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    for wait in (True, False):
        with files.exclusive_lock(tmp_path / "lock", wait=wait):
            done = wait
    assert done is False


def test_a_lock_file_that_cannot_be_opened_is_an_error(tmp_path):
    (tmp_path / "lock").mkdir()
    with pytest.raises(OSError, match="lock"), files.exclusive_lock(tmp_path / "lock"):
        pass


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    with files.replacing(path) as partial:
        partial.write_text("first")
    with pytest.raises(TypeError), files.replacing(path) as partial:
        partial.write_text(b"no text")
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_named_with_its_content(tmp_path):
    text = f"the table {tmp_path} cannot be written: it is a folder"
    with pytest.raises(OSError, match=text), files.replacing(tmp_path, "the table"):
        pass


def test_the_cache_folder_is_that_of_the_environment_or_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("IMBALANCE_STUDY_CACHE", str(tmp_path))
    assert files.default_cache_dir() == tmp_path
    monkeypatch.delenv("IMBALANCE_STUDY_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.default_cache_dir() == tmp_path / ".cache" / "imbalance_study"


def test_a_long_wait_for_a_lock_is_said(holder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(files, "_SILENT_WAIT", 0.05)
    killer = threading.Timer(0.3, holder.kill)
    killer.start()
    with files.exclusive_lock(tmp_path / "lock"):
        said = capsys.readouterr().err
    killer.join()
    assert f"waiting for {tmp_path / 'lock'}, which another process holds" in said
    assert "went on after" in said


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+cmd|calc", "-2+3", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_text_that_spreadsheets_run_gets_a_quote(text):
    assert files.csv_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", ["daisy", "-1.5", "+2e-3", "-", "", "a=b", None, 3, -2.5, True])
def test_other_cells_stay_as_they_are(value):
    assert files.csv_cell(value) is value
