import csv
import sys

from imbalance_study.studies.report import document, write
from imbalance_study.studies.report.document import Figure, Report, Section


def test_a_report_is_written_as_documents_figures_and_tables(every_block, png, tmp_path):
    write.write_files(every_block, tmp_path / "out")
    names = {path.relative_to(tmp_path / "out").as_posix() for path in tmp_path.rglob("*.*")}
    assert names == {"report.html", "report.md", "report.docx", "figures/f.png", "tables/t.csv"}
    assert (tmp_path / "out" / "figures" / "f.png").read_bytes() == png


def test_without_python_docx_the_other_files_are_written(every_block, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "docx", None)
    write.write_files(every_block, tmp_path / "out")
    assert not (tmp_path / "out" / "report.docx").exists()
    assert (tmp_path / "out" / "report.html").exists()
    assert (tmp_path / "out" / "report.md").exists()


def test_the_file_of_a_table_has_all_rows(tmp_path):
    columns = {"class": [f"c{n}" for n in range(100)], "recall": [n / 100 for n in range(100)]}
    report = Report("x", [Section("y", document.table("long", "Recall.", columns, only=["class"]))])
    write.write_files(report, tmp_path / "out")
    with (tmp_path / "out" / "tables" / "long.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["class", "recall"]
    assert len(rows) == 101


def test_figures_of_one_name_get_numbers(png, tmp_path):
    sections = [Section(title, [Figure("costs", "Costs.", png)]) for title in "ab"]
    write.write_files(Report("x", sections), tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out" / "figures").iterdir())
    assert names == ["costs.png", "costs_2.png"]
