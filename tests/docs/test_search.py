"""Whoever types a term of the field into the site's search finds the page that serves it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import snowballstemmer

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
def index(tmp_path_factory):
    """The search index of the site, built without running its examples."""
    site = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-D", "run_examples=0", str(DOCS), str(site)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
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
