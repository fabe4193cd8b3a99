"""The notebook of analysis/ holds no outputs, and runs to its end."""

from pathlib import Path

import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[3] / "analysis" / "compare_remedies.ipynb"


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def _code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_notebook_is_stored_without_outputs(notebook):
    nbformat.validate(notebook)
    for cell in _code(notebook):
        assert cell.outputs == []
        assert cell.execution_count is None


@pytest.mark.slow
def test_the_notebook_runs_and_shows_tables_and_figures(notebook, own_place):
    from nbclient import NotebookClient

    NotebookClient(notebook, timeout=900, kernel_name="python3").execute()
    shown = [output for cell in _code(notebook) for output in cell.outputs]
    kinds = [kind for output in shown for kind in output.get("data", {})]
    assert kinds.count("image/png") == 2
    assert kinds.count("text/html") == 2
    texts = [output.text for output in shown if output.output_type == "stream"]
    assert any(text.startswith("- ") and "p values are two-sided" in text for text in texts)
