"""The report from what is in a folder: everything there, nothing from elsewhere."""

import base64
import json
import re
from html.parser import HTMLParser

import pytest

from dispersed import InputError
from dispersed.paper.catalogue import EXPERIMENTS
from dispersed.paper.findings import read_about
from dispersed.paper.report.page import write_page


class Tags(HTMLParser):
    """Every tag with its attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.words.append(data)

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.fixture
def page(results):
    return Tags(write_page(results).read_text(encoding="utf-8"))


def test_the_page_needs_nothing_from_elsewhere(page):
    places = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")]
    assert len(places) > 20
    assert all(place.startswith(("#", "data:")) for place in places)
    assert not page.all("script")
    assert "url(" not in " ".join(page.words)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {place[1:] for place in places if place.startswith("#")} <= set(ids)


def test_pictures_have_alternatives_and_sizes(page):
    images = page.all("img")
    assert len(images) == 2
    for image in images:
        assert len(image["alt"]) > 5
        assert int(image["width"]) > int(image["height"]) > 100


def test_ours_stands_beside_the_published(page):
    text = " ".join(" ".join(page.words).split())
    assert "0.900 [0.896, 0.904] paper 0.995: differs by -0.095" in text
    assert "0.991 [0.987, 0.995] paper 0.991: agrees" in text
    assert text.count(": agrees") == 17
    assert "Made <up> & safe." in text
    assert "dispersed reproduce table1 --seed 3" in text
    assert "jax.random.key(3)" in text
    assert "67 min" in text


def test_claims_are_marked_and_departures_are_listed(results, page):
    text = " ".join(" ".join(page.words).split())
    verdicts = read_about(results, "table1").verdicts
    marks = [span["aria-label"] for span in page.all("span") if span.get("class") == "mark"]
    assert marks.count("holds:") == sum(verdict.holds for verdict in verdicts)
    assert marks.count("does not hold:") == sum(not (verdict.holds or verdict.departure) for verdict in verdicts)
    assert "✓ 17 of 18 published values agree" in text
    differs = "Denoising, diffusion, ODE, 300 Euler steps: 0.900 [0.896, 0.904], 0.991"
    for verdict in verdicts:
        # Beside the table, and in the list of what did not come out as printed.
        assert text.count(verdict.sentence) == 1 + verdict.departure
        assert verdict.departure == (verdict.sentence.startswith(differs) or verdict.name in ("order", "self_coupling"))


def test_what_is_missing_is_named(page):
    text = " ".join(" ".join(page.words).split())
    assert f"1 of {len(EXPERIMENTS)} experiments have been run" in text
    for name in EXPERIMENTS:
        assert (f"Not run yet: dispersed reproduce {name} makes it" in text) == (name != "table1")


def test_rows_can_be_taken_away(page, table1_rows):
    files = {link["download"]: link["href"] for link in page.all("a") if "download" in link}
    assert set(files) == {"table1.csv", "capacity.csv", "capacity_errors.csv"}
    lines = base64.b64decode(files["table1.csv"].split(",", 1)[1]).decode().splitlines()
    assert len(lines) == 1 + len(table1_rows)
    assert lines[1] == "denoising,10,diffusion,0.9,0.896,0.904,0.995"
    text = " ".join(" ".join(page.words).split())
    assert "the first 60 rows are shown" in text


def test_every_slip_has_a_derivation(page):
    text = " ".join(page.words)
    headings = len(re.findall(r"Printed:", text))
    assert headings == 18
    assert f"with derivations ({headings})" in " ".join(text.split())


@pytest.mark.parametrize("damage", ["{", "[1]", '[{"task": 1}]'])
def test_damaged_results_are_named(results, damage):
    (results / "table1.json").write_text(damage)
    with pytest.raises(InputError, match=r"^out: '.*table1.*again$"):
        write_page(results)


def test_results_of_another_version_count_as_none(results):
    path = results / "table1.about.json"
    path.write_text(json.dumps({"name": "table1"}))
    assert "Not run yet" in write_page(results).read_text(encoding="utf-8")


def test_an_empty_folder_has_no_report(tmp_path):
    with pytest.raises(InputError, match=r"^out: got .*holds no results"):
        write_page(tmp_path)
