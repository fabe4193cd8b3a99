import tiny
from PIL import Image

from imbalance_study import cli


def test_a_range_test_prints_a_rate_and_draws_its_curve(tmp_path, capsys, own_place):
    curve = tmp_path / "deep" / "curve.png"
    cli.main(["find_lr", *tiny.words(tiny.SMALLEST), "--figure", str(curve)])
    first, second = capsys.readouterr().out.splitlines()
    assert 0 < float(first.removeprefix("suggested lr: ")) < 10
    assert second.endswith(f"the curve is in {curve}")
    assert Image.open(curve).format == "PNG"
    assert not list(tmp_path.glob("mlflow.db"))
