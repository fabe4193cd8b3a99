import json
import os
import subprocess
import sys

import click

from imbalance_study.cli import output
from imbalance_study.cli.output import LastingStream

# A command that writes to both streams, on and on, and says in a file that it came to its end.
COMMAND = """
import sys
from imbalance_study.cli.output import lasting_output
with lasting_output():
    for _ in range(3):
        print("x" * 100_000)
        print("x" * 100_000, file=sys.stderr)
    import os
    os.system("echo from a child")
    open(sys.argv[1], "w").write("done")
"""


def test_a_command_goes_on_when_its_pipe_is_cut(tmp_path):
    reading, writing = os.pipe()
    words = [sys.executable, "-c", COMMAND, str(tmp_path / "end")]
    with subprocess.Popen(words, stdout=writing, stderr=writing) as process:
        os.close(writing)
        os.close(reading)
        assert process.wait(60) == 0
    assert (tmp_path / "end").read_text() == "done"


def test_what_is_written_arrives_as_long_as_somebody_reads(tmp_path):
    words = [sys.executable, "-c", COMMAND, str(tmp_path / "end")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert len(done.stdout) == 300_003 + len("from a child\n")
    assert len(done.stderr) == 300_003


def test_a_lasting_stream_is_used_like_the_one_it_wraps(tmp_path):
    with (tmp_path / "text").open("w") as file:
        stream = LastingStream(file)
        print("a", file=stream, flush=True)
        assert not stream.isatty()
        assert stream.fileno() == file.fileno()
    assert (tmp_path / "text").read_text() == "a\n"


def test_an_answer_stands_alone_on_standard_output(capsys):
    with output.answer_alone(True) as print_answer:
        print("progress")
        click.echo("a message")
        print_answer({"verdict": "ä < b", "parts": []})
    out, err = capsys.readouterr()
    assert json.loads(out) == {"verdict": "ä < b", "parts": []}
    assert err.splitlines() == ["progress", "a message"]


def test_without_an_answer_asked_for_nothing_changes(capsys):
    with output.answer_alone(False) as print_answer:
        print("progress")
        print_answer({"verdict": "b"})
    assert capsys.readouterr() == ("progress\n", "")
