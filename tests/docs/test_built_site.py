"""The site as it is built: its search finds the terms of the field, its tables link, its equations are set."""

import html
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
import snowballstemmer

import dispersed

DOCS = Path(__file__).parent.parent.parent / "docs"

EXPECTED = {
    "retrieval": "guides/million",
    "kNN": "guides/million",
    "nearest neighbours": "guides/million",
    "vector database": "guides/million",
    "cosine similarity": "guides/million",
    "FAISS": "guides/million",
    "inverse problem": "guides/measurement",
    "deblurring": "guides/measurement",
    "super-resolution": "guides/measurement",
    "inpainting": "guides/missing",
    "missing values": "guides/missing",
    "uncertainty": "guides/certainty",
    "calibrated": "guides/certainty",
    "multiple GPUs": "guides/hosts",
    "jax.distributed": "guides/hosts",
    "CUDA": "guides/install",
    "GPU": "guides/install",
    "bfloat16": "guides/install",
    "serialization": "guides/save",
    "pickle": "guides/save",
    "energy-based model": "guides/energy",
    "ODE solver": "guides/solver",
    "noise schedule": "guides/solver",
    "score matching": "glossary",
    "Langevin": "glossary",
    "memorization": "glossary",
    "attention": "theory",
    "speciation": "theory",
    "collapse": "theory",
    "phase transition": "theory",
    "symmetry breaking": "theory",
    "denoiser": "theory",
    "DDPM": "differences",
    "spurious": "glossary",
    "citation": "cite",
    "license": "cite",
    "changelog": "changelog",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site that was built just before, or one built without running its examples."""
    if built := os.environ.get("DISPERSED_SITE"):
        return Path(built)
    site = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-D", "run_examples=0", str(DOCS), str(site)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return site


@pytest.fixture(scope="module")
def index(site):
    """Its search index."""
    text = (site / "searchindex.js").read_text()
    return json.loads(re.fullmatch(r"Search\.setIndex\((.*)\)", text, re.DOTALL)[1])


def found(index, query: str) -> list[str]:
    """Pages that have every word of the query, as searchtools.js finds and orders them, the best first.

    A word counts by its stem; one that no page has, as part of words.
    """
    stem = snowballstemmer.stemmer("english").stemWord
    scores: dict[str, list[int]] = {}
    words = [stem(word) for word in re.findall(r"\w+", query.lower())]
    for word in words:
        best: dict[int, int] = {}
        for terms, whole, part in ((index["terms"], 5, 2), (index["titleterms"], 15, 7)):
            having = [word] if word in terms else [term for term in terms if len(word) > 2 and word in term]
            for term in having:
                pages = terms[term] if isinstance(terms[term], list) else [terms[term]]
                for page in pages:
                    best[page] = max(best.get(page, 0), whole if term == word else part)
        for page, score in best.items():
            scores.setdefault(index["docnames"][page], []).append(score)
    complete = {page: max(score) for page, score in scores.items() if len(score) == len(words)}
    return sorted(complete, key=lambda page: -complete[page])


@pytest.mark.parametrize(("query", "page"), EXPECTED.items(), ids=EXPECTED)
def test_a_term_of_the_field_finds_its_page(index, query, page):
    assert page in found(index, query)


def test_a_term_that_is_nowhere_finds_nothing(index):
    assert found(index, "zeugma") == []
    assert found(index, "denoiser zeugma") == []


def test_pages_that_show_where_code_is_are_read_again_when_it_changes(site):
    """A site that is built anew reads what changed, and the pages that depend on it."""
    environment = pickle.loads((site / ".doctrees" / "environment.pickle").read_bytes())
    names = {Path(path).name for path in environment.dependencies["theory"]}
    assert {Path(equation.file).name for equation in dispersed.equations.values()} <= names


def test_every_equation_is_in_the_table_of_the_theory_and_most_are_linked(site):
    page = (site / "theory.html").read_text()
    rows = re.findall(r"<tr.*?</tr>", page, re.DOTALL)
    linked = 0
    for equation in dispersed.equations.values():
        (row,) = [row for row in rows if f"<p>{equation.name}</p>" in row]
        assert f"{equation.file}:{equation.line}" in row
        linked += 'class="reference internal" href="api/' in row
    assert linked > 30


def test_equations_are_mathml_and_need_no_network(site):
    theory = (site / "theory.html").read_text()
    assert theory.count("<math ") >= 8
    assert (site / "api" / "memories.html").read_text().count("<math ") > 5
    loaded = re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"(https?:[^\"]+)", theory)
    assert loaded == []


def test_signatures_have_types_and_defaults_that_can_be_read(site):
    text = "".join(path.read_text() for path in (site / "api").glob("*.html"))
    signatures = [
        html.unescape(re.sub("<[^>]+>", "", s)) for s in re.findall(r'<dt class="sig.*?</dt>', text, re.DOTALL)
    ]
    assert len(signatures) > 300
    assert [s for s in signatures if re.search(r"<[a-z]| object at 0x", s)] == []
    (recall,) = [s for s in signatures if re.match(r"\s*dispersed\.recall\(", s)]
    assert "cue: ArrayLike" in recall
    assert "→ Recall" in recall
