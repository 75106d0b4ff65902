"""Equations as they are typed become MathML: all of them can be read, and are read as they are meant."""

import ast
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "docs" / "extensions"))

import equations


def indented(text: str) -> list[str]:
    """The blocks of a docstring or page that are indented and follow an empty line."""
    return re.findall(r"(?:^|\n\n)((?: {4}.*\n?)+)", text)


def written() -> list[str]:
    texts = []
    for path in (ROOT / "src" / "dispersed").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                texts.append(ast.get_docstring(node) or "")
    for path in (ROOT / "docs").rglob("*.md"):
        texts.append(re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE))
    return [block for text in texts for block in indented(text) if equations.is_equation(block)]


def read(text: str) -> str:
    """What was understood, on one line: a_[b] for subscripts, a^[b] for superscripts, frac[a|b], √[a]."""

    def told(node: ElementTree.Element) -> str:
        parts = [told(child) for child in node]
        match node.tag:
            case "mfrac":
                return f"frac[{'|'.join(parts)}]"
            case "msub" | "munder":
                return f"{parts[0]}_[{parts[1]}]"
            case "msup":
                return f"{parts[0]}^[{parts[1]}]"
            case "msubsup":
                return f"{parts[0]}_[{parts[1]}]^[{parts[2]}]"
            case "mover":
                return f"accent[{parts[0]}]"
            case "msqrt":
                return f"√[{''.join(parts)}]"
        return (node.text or "") + "".join(parts)

    return told(ElementTree.fromstring(equations.mathml(text)))


def test_every_equation_of_docstrings_and_pages_is_understood():
    blocks = written()
    assert len(blocks) > 90
    for block in blocks:
        assert re.search(r"[_^](?!\[)", read(block)) is None, block


@pytest.mark.parametrize(
    ("typed", "understood"),
    [
        ("p_σ(x)", "p_[σ](x)"),
        ("m_{k−1}/h", "frac[m_[k−1]|h]"),
        ("x/2σ²", "frac[x|2σ^[2]]"),
        ("(a − b)/(c + d)", "frac[a−b|c+d]"),
        ("f(a/b)", "f(a/b)"),
        ("−‖x − y_j‖²/(2σ²)", "−frac[‖x−y_[j]‖^[2]|2σ^[2]]"),
        ("e^{−h/2}", "e^[−h/2]"),
        ("√(1+σ²)", "√[1+σ^[2]]"),
        ("σ√2π", "σ√[2π]"),
        ("ṡ/s", "frac[accent[s]|s]"),
        ("Σ_j w_j", "∑_[j]w_[j]"),
        ("Σ + σ²I", "Σ+σ^[2]I"),
        ("∫₀^h D(u) du", "∫_[0]^[h]D(u)du"),
        ("x₀ ≤ y_ji", "x_[0]≤y_[ji]"),
        ("Σ_out w_j", "∑_[out]w_[j]"),
        ("y_jᵀv", "y_[j]^[T]v"),
        ("z' = |log w|", "z′=|logw|"),
        ("p(j | x)", "p(j|x)"),
        ("σ where x > 0", "σwhere\u00a0x>0"),
    ],
)
def test_what_is_typed_is_read_as_it_is_meant(typed, understood):
    assert read(typed) == understood


def test_the_number_of_an_equation_is_text_and_tables_of_numbers_are_no_equations():
    assert "<mtext>(Eq.\u00a029)</mtext>" in equations.mathml("D_σ(x) = y  (Eq. 29)")
    assert not equations.is_equation("steps   3   6   12")
    with pytest.raises(ValueError, match="not understood"):
        equations.mathml("σ = `code`")
