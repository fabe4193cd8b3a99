import sys

import data_report
import numpy as np
from PIL import Image


def test_the_cost_of_the_report_is_given_beside_decoding(tmp_path, monkeypatch, capsys):
    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(6):
            pixels = generator.integers(0, 256, (12, 12, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    words = ["data_report.py", "--data_dir", str(tmp_path), "--side", "8"]
    monkeypatch.setattr(sys, "argv", words)
    data_report.main()
    said = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in said[:4]] == [
        *("decoding", "copies", "copies, again", "report")
    ]
    assert "of decoding 12 images" in said[4]
    assert said[6].split() == ["a", "5", "0", "1"]
