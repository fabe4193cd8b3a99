from matplotlib.font_manager import fontManager

from imbalance_study.evaluation.figures import style


def test_only_fonts_that_are_installed_are_asked_for(caplog):
    families = style.families()
    assert families[0] == "sans-serif"
    assert set(families[1:]) <= set(fontManager.get_font_names())

    @style.styled
    def draw():
        figure = style.new_figure(2, 2)
        figure.text(0.5, 0.5, "daisy")
        figure.canvas.draw()
        return figure

    draw()
    assert not [record for record in caplog.records if "findfont" in record.message]


def test_an_east_asian_font_comes_after_the_usual_one_where_there_is_one(monkeypatch):
    names = ["DejaVu Sans", "Noto Sans CJK JP", "Comic"]
    monkeypatch.setattr(fontManager, "get_font_names", lambda: names)
    assert style.families() == ["sans-serif", "Noto Sans CJK JP"]
