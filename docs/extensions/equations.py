"""Equations are written in Unicode, in docstrings and on pages, and shown as MathML.

An indented block that is no code is an equation: `help()` and an editor show it as it was typed, the site sets it. What is
understood is what mathematicians type: subscripts p_σ, m_{k−1}, x₀, superscripts ², ᵀ, e^{−h}, roots √(1+σ²), fractions
a/(b + c) and dots ṡ. The numerator and the denominator are what stands on both sides of the slash without a space, so that
/2σ² divides by all of 2σ². Words are text. Every browser of today shows MathML, without a script and without the network.

The directive `paper-equations` is the table of the paper's equations, with the symbol of each and the file that has it.
"""

import re
import unicodedata
from html import escape
from typing import Any

from dependencies import depend_on_package
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective

FUNCTIONS = re.compile(
    "log|exp|max|min|sign|cosh|sinh|tanh|det|diag|softmax|argmax|argmin|dist|Cov|Var|ReLU|trace|lim"
)
SHORT_WORDS = re.compile("if|or|of|is|to|so|at|in|it|no|by|as|on|an|VP|VE")
SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱᵀᵏ*", "0123456789+−=()niTk*", strict=True))
SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₌ₙₖₘₜⱼᵢ", "0123456789+−=nkmtji", strict=True))
ACCENTS = {"\u0302": "^", "\u0303": "~", "\u0304": "¯", "\u0307": "˙", "\u0308": "¨"}
BIG = "ΣΠ∫"
PAIRS = {"(": ")", "[": "]", "{": "}"}
OPERATORS = "+−-=≤≥<>≠≈∝~→←↦·×∗∈∉⊂∪∩±≪≫∼⋅:;,.…!%'\""
TAG = re.compile(r"\((?:Eq\.|Eqs\.|Tweedie)[^()]*\)$")


def is_equation(text: str) -> bool:
    """Whether an indented block is mathematics; code and tables of numbers are ASCII."""
    return bool(re.search(r"[Α-Ωα-ω²⁻−∂∇∑∫ΣΠ√‖≤≥∝←→∈ᵀ₀-₉]", text))


def mathml(text: str) -> str:
    """A block of equations as MathML: lines are rows, and what stands several spaces apart are columns."""
    text = unicodedata.normalize("NFC", text)
    covariances = set(re.findall(r"Σ(_\w)?(?= *[−+),=])", text))
    rows = []
    for line in text.strip("\n").split("\n"):
        parts = re.split(r" {2,}", line.strip())
        cells = [
            f"<mtext>{escape(part).replace(' ', chr(160))}</mtext>"
            if TAG.match(part)
            else _Row(part, covariances).all()
            for part in parts
        ]
        rows.append("".join(f"<mtd>{cell}</mtd>" for cell in cells))
    table = "".join(f"<mtr>{row}</mtr>" for row in rows)
    alternative = escape(re.sub(r"\s+", " ", text.strip()))
    return (
        f'<div class="equation"><math displaystyle="true" alttext="{alternative}">'
        f'<mtable displaystyle="true">{table}</mtable></math></div>'
    )


class _Row:
    """A reader of one expression, from left to right.

    An atom is a symbol, number, root or group with its scripts; a run is what stands without a space or an operator between.
    """

    def __init__(self, text: str, covariances: set[str]) -> None:
        self.text, self.at, self.covariances = text, 0, covariances
        self.depth, self.in_script = 0, False

    def all(self) -> str:
        found = self.row("")
        if self.at < len(self.text):  # a bracket that closes what was never opened
            self.at += 1
            return f"{found}<mo>{escape(self.text[self.at - 1])}</mo>{self.all()}"
        return found

    def peek(self, ahead: int = 0) -> str:
        return self.text[self.at + ahead : self.at + ahead + 1]

    def row(self, closing: str) -> str:
        """Everything up to one of the characters `closing`, which is not read."""
        found: list[str] = []
        while (c := self.peek()) and c not in closing:
            if c == " ":
                self.at += 1
                found.append('<mspace width="0.2em"/>')
            elif c in (")]" if closing == "}" else ")]}" if not closing else ""):
                break
            elif c == "|" and self.is_bar():
                self.at += 1
                found.append(
                    '<mo stretchy="false" lspace="0.25em" rspace="0.25em">|</mo>'
                )
            elif c in OPERATORS:
                self.at += 1
                found.append(f"<mo>{escape('−' if c == '-' else c)}</mo>")
            else:
                found.append(self.fraction(closing))
        return "".join(found)

    def is_bar(self) -> bool:
        """Whether a bar stands between spaces, as in p(j | x), and is not that of an absolute value."""
        return self.peek(1) == " " and self.at > 0 and self.text[self.at - 1] == " "

    def fraction(self, closing: str) -> str:
        above = self.run(closing)
        if self.peek() != "/" or not self.peek(1).strip():
            if self.peek() == "/":
                self.at += 1
                return self.joined(above) + "<mo>/</mo>"
            return self.joined(above)
        self.at += 1
        below = self.run(closing, below=True)
        if self.in_script or (
            self.depth and not below[-1][0].startswith("<mrow><mo form=")
        ):
            return f"{self.joined(above)}<mo>/</mo>{self.joined(below)}"
        return f"<mfrac><mrow>{self.bare(above)}</mrow><mrow>{self.bare(below)}</mrow></mfrac>"

    def run(self, closing: str, below: bool = False) -> list[tuple[str, str]]:
        """Atoms without a space or an operator between; each with what it is without its brackets.

        The sum that a denominator begins with has what follows it, after a space.
        """
        found: list[tuple[str, str]] = []
        while (
            (c := self.peek())
            and c not in " /)]}"
            and c not in OPERATORS
            and c not in closing
        ):
            if c == "|" and self.is_bar():
                break
            found.append(self.atom())
            if (
                below
                and c in BIG
                and self.peek() == " "
                and self.peek(1) not in OPERATORS
            ):
                self.at += 1
        if not found and self.peek() in ("−", "-"):
            self.at += 1
            return [("<mo>−</mo>", "<mo>−</mo>"), *self.run(closing, below)]
        return found

    @staticmethod
    def joined(run: list[tuple[str, str]]) -> str:
        return "".join(whole for whole, _ in run)

    @staticmethod
    def bare(run: list[tuple[str, str]]) -> str:
        return run[0][1] if len(run) == 1 else "".join(whole for whole, _ in run)

    def atom(self) -> tuple[str, str]:
        start = self.peek()
        whole, bare = self.base()
        while self.peek() in ("'", "′"):
            self.at += 1
            whole = bare = f'<mrow>{whole}<mo lspace="0" rspace="0">′</mo></mrow>'
        sub, sup = self.scripts()
        if start in BIG and not self.in_script and start != "∫" and not sup:
            return (
                (f"<munder>{whole}{sub}</munder>" if sub else whole,) * 2
                if whole.startswith("<mo")
                else ((f"<msub>{whole}{sub}</msub>" if sub else whole,) * 2)
            )
        if sub and sup:
            whole = f"<msubsup>{whole}{sub}{sup}</msubsup>"
        elif sub:
            whole = f"<msub>{whole}{sub}</msub>"
        elif sup:
            whole = f"<msup>{whole}{sup}</msup>"
        return whole, whole if sub or sup else bare

    def base(self) -> tuple[str, str]:
        c = self.peek()
        if c in PAIRS:
            self.at += 1
            self.depth += 1
            inner = self.row(")]" if c in "([" else "}")
            self.depth -= 1
            end = self.peek()
            self.at += 1
            fenced = self.fenced(c, inner, end)
            return (
                fenced,
                f"<mrow>{inner}</mrow>" if c == "(" and end == ")" else fenced,
            )
        if c in "‖|":
            self.at += 1
            self.depth += 1
            inner = self.row(c)
            self.depth -= 1
            self.at += 1
            fenced = self.fenced(c, inner, c)
            return fenced, fenced
        if c == "√":
            self.at += 1
            return (f"<msqrt>{self.radicand()}</msqrt>",) * 2
        if number := re.match(r"\d+(\.\d+)?", self.text[self.at :]):
            self.at += number.end()
            return (f"<mn>{number[0]}</mn>",) * 2
        if c in BIG:
            self.at += 1
            name = re.match(r"_\w", self.text[self.at :])
            if c == "Σ" and (name[0] if name else "") in self.covariances:
                return ("<mi>Σ</mi>",) * 2
            big = {"Σ": "∑", "Π": "∏"}.get(c, c)
            return (f'<mo largeop="{str(not self.in_script).lower()}">{big}</mo>',) * 2
        if c in SUBSCRIPTS:
            return ("<mi></mi>",) * 2
        if c in "½¼¾∂∇∆∞∅":
            self.at += 1
            return (f"<mi mathvariant='normal'>{c}</mi>",) * 2
        if word := re.match(r"[A-Za-z][A-Za-z’]*", self.text[self.at :]):
            return (self.word(word[0]),) * 2
        if c.isalpha() or unicodedata.category(c) in ("So", "Sm", "Lo"):
            self.at += 1
            return (self.accented(c),) * 2
        raise ValueError(f"{c!r} in {self.text!r} is not understood")

    @staticmethod
    def fenced(opening: str, inner: str, closing: str) -> str:
        """What stands between brackets; these grow with fractions and sums, and with nothing else."""
        grows = str(bool(re.search("<mfrac|<munder", inner))).lower()
        form = f'fence="true" stretchy="{grows}"'
        return f'<mrow><mo form="prefix" {form}>{opening}</mo>{inner}<mo form="postfix" {form}>{closing}</mo></mrow>'

    def radicand(self) -> str:
        if self.peek() == "(":
            return self.base()[1]
        first = self.atom()[0]
        if first.startswith("<mn>") and self.peek().isalpha():
            return first + self.atom()[0]
        if "normal" in first and self.peek() == "(":
            return first + self.atom()[0]
        return first

    def word(self, word: str) -> str:
        """A function, a word of English, or letters that are factors: the first of them, if so."""
        following = self.text[self.at + len(word) :][:1]
        article = word == "a" and re.match(r" [a-z]{3}", self.text[self.at + 1 :])
        if FUNCTIONS.fullmatch(word):
            self.at += len(word)
            space = '<mspace width="0.15em"/>' if following == " " else ""
            return f"<mi mathvariant='normal'>{word}</mi>{space}"
        if len(word) > 2 or SHORT_WORDS.fullmatch(word) or article:
            self.at += len(word) + (following == " ")
            return f"<mtext>{word}{chr(160) if following == ' ' else ''}</mtext>"
        self.at += 1
        return self.accented(word[0])

    def accented(self, letter: str) -> str:
        """A letter that was read, with the accent that it has or that follows it."""
        base, *marks = unicodedata.normalize("NFD", letter)
        while self.peek() in ACCENTS:
            marks.append(self.peek())
            self.at += 1
        found = f"<mi>{base}</mi>"
        for mark in marks:
            found = f'<mover accent="true">{found}<mo>{ACCENTS[mark]}</mo></mover>'
        return found

    def scripts(self) -> tuple[str, str]:
        sub, sup = "", ""
        while c := self.peek():
            if c == "*" and not sup:
                self.at, sup = self.at + 1, sup + "<mo>*</mo>"
            elif c in SUPERSCRIPTS:
                sup += self.small(SUPERSCRIPTS)
            elif c in SUBSCRIPTS:
                sub += self.small(SUBSCRIPTS)
            elif c == "_" and self.peek(1).strip():
                self.at += 1
                sub += self.script()
            elif c == "^" and self.peek(1).strip():
                self.at += 1
                sup += self.script()
            else:
                break
        return (f"<mrow>{sub}</mrow>" if sub else ""), (
            f"<mrow>{sup}</mrow>" if sup else ""
        )

    def small(self, letters: dict[str, str]) -> str:
        found = ""
        while (c := self.peek()) in letters and c:
            self.at += 1
            letter = letters[c]
            tag = "mn" if letter.isdigit() else "mi" if letter.isalpha() else "mo"
            found += f"<{tag}>{letter}</{tag}>"
        return found

    def script(self) -> str:
        before, self.in_script = self.in_script, True
        if self.peek() == "{":
            self.at += 1
            found = self.row("}")
            self.at += 1
        elif name := re.match(r"[a-z]{3,}", self.text[self.at :]):
            self.at += name.end()
            found = f"<mtext>{name[0]}</mtext>"
        elif (
            letters := re.match(r"[A-Za-z0-9]+", self.text[self.at :])
            if self.text[self.at - 1] == "_"
            else None
        ):
            self.at += letters.end()
            found = "".join(
                f"<mn>{c}</mn>" if c.isdigit() else f"<mi>{c}</mi>" for c in letters[0]
            )
        else:
            self.at += 1
            found = f"<mi>{escape(self.text[self.at - 1])}</mi>"
        self.in_script = before
        return found


class SetEquations(SphinxTransform):
    """Every indented block that is an equation becomes MathML."""

    default_priority = 390

    def apply(self, **kwargs: Any) -> None:
        for block in list(self.document.findall(nodes.literal_block)):
            if block.get("language", "none") in ("none", "default") and is_equation(
                block.astext()
            ):
                block.replace_self(nodes.raw("", mathml(block.astext()), format="html"))


class PaperEquations(SphinxDirective):
    """The index of `dispersed.equations` as a table."""

    def run(self) -> list[nodes.Node]:
        from dispersed import equations

        depend_on_package(self.env)
        lines = ["| equation | what it says | where |", "| --- | --- | --- |"]
        for equation in equations.values():
            link = self.link(*equation.symbol.split(":"))
            where = f"{link}<br>`{equation.file}:{equation.line}`"
            lines.append(f"| {equation.name} | {equation.about} | {where} |")
        box = nodes.Element()
        self.state.nested_parse(
            StringList(lines, source="dispersed.equations"), self.content_offset, box
        )
        return box.children

    @staticmethod
    def link(module: str, name: str) -> str:
        """A link to where the reference has the symbol: by its shortest public name."""
        import dispersed

        owner, _, method = name.partition(".")
        room = module.rpartition(".")[0]
        home = (
            "dispersed"
            if owner in dispersed.__all__
            else module
            if room == "dispersed"
            else room
        )
        public = method and not method.startswith("_")
        target = f"{home}.{name if public or not method else owner}"
        return f"{{py:obj}}`{name} <{target}>`"


def setup(app: Sphinx) -> dict[str, bool | int]:
    app.add_transform(SetEquations)
    app.add_directive("paper-equations", PaperEquations)
    return {"parallel_read_safe": True, "env_version": 1}
