import re

import pages
import pytest

ROOT = pages.repository()
PAGES = pages.of(ROOT)


def _name(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_link_leads_to_a_file_and_a_heading(page):
    assert pages.dead_links(page) == []


@pytest.mark.parametrize(
    ("link", "dead"),
    [
        ("b.md", False),
        ("b.md#a-heading-of-its-own", False),
        ("#here", False),
        ("https://example.org/nowhere", False),
        ("c.md", True),
        ("b.md#another", True),
        ("#there", True),
        ("picture.png", True),
    ],
)
def test_a_planted_link_is_found_when_it_is_dead(tmp_path, link, dead):
    page = tmp_path / "a.md"
    page.write_text(f"# Here\n\nSee [this]({link}).\n\n```sh\n# there\n```\n")
    (tmp_path / "b.md").write_text("# A heading, of its `own`\n")
    assert pages.dead_links(page) == ([link] if dead else [])


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_path_that_a_page_names_exists(page):
    if page.name == "CHANGELOG.md":
        return  # it names what is gone
    for path in pages.named_paths(page, ROOT):
        places = (ROOT / path, ROOT / "imbalance_study" / path)
        assert any(place.exists() for place in places), path


def test_every_test_to_copy_is_in_the_file_that_is_named_beside_it():
    text = (ROOT / "docs" / "extending.md").read_text()
    seen = []
    for part in re.split(r"\n(?:\n|\d\. )", text):
        files = re.findall(r"`(tests/[\w/]+\.py)`", part)
        names = re.findall(r"`(test_\w+|[A-Z_]{4,})`", part)
        if len(files) == 1:
            code = (ROOT / files[0]).read_text()
            assert [name for name in names if not re.search(rf"\b{name}\b", code)] == []
            seen += names
    assert len(seen) > 6


def test_every_page_is_in_the_navigation_and_every_entry_is_a_page():
    named = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text().split("\nnav:")[1]))
    assert named == {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}


def test_the_readmes_first_two_blocks_are_the_set_up_with_the_main_job_and_the_tests():
    first, second = pages.blocks(ROOT / "README.md", "sh")[:2]
    job = "mlflow run . --env-manager local -P dataset=digits -P model=efficientnet_b0"
    assert first.splitlines() == ["pip install -e .", job]
    assert second.splitlines() == ["pip install -e '.[test]'", "pytest"]


def test_the_readme_fits_its_bounds_and_shows_a_small_picture():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 220
    (picture,) = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert (ROOT / picture).stat().st_size < 200_000
