"""What values are called, as plain text and in LaTeX."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

__all__ = ["Name", "upright"]

MARKS = {
    "": "", "δ": r"\delta ", "δ⁺": r"\delta^{+} ", "∂L/∂": r"\partial L/\partial ",
}  # fmt: skip
GREEK = frozenset((
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau "
    "upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
).split())  # fmt: skip
ESCAPED = r"\\\g<0>"
_SPECIAL = re.compile(r"[_%&#{}$]")


class Name(NamedTuple):
    """What a value is called: δ⁺h_t−1 has the mark δ⁺, the base h, and is of the time t−1."""

    base: str
    time: str = ""
    mark: str = ""

    def text(self, latex: bool = False) -> str:
        """The name as plain text, or in LaTeX."""
        if not latex:
            return f"{self.mark}{self.base}{'_' if self.time else ''}{self.time}"
        base, turned = self.base.removesuffix("ᵀ"), self.base.endswith("ᵀ")
        base, opened, number = base.partition("⁽")
        index = re.search(r"\[[^\]]*[:,][^\]]*\]$", base)
        base = base[: index.start()] if index else base
        head, below = _taken_apart(base)
        below += [self.time.replace("−", "-")] if self.time else []
        text = head + (f"_{{{','.join(below)}}}" if below else "")
        text = f"{{{text}^{{({number[:-1]})}}}}" if opened else text
        text += index[0] if index else ""
        return MARKS[self.mark] + text + (r"^{\top}" if turned else "")


def _taken_apart(base: str) -> tuple[str, list[str]]:
    """A name in LaTeX, and what stands below it: weight_hh, a1, s[0]."""
    parts = base.split("_")
    if not all(parts):  # _tmp, a__b
        return upright(base), []
    found = re.fullmatch(r"([^\d\[\]]+)(\d+|\[\d+\])", parts[0])
    head, below = (found[1], [found[2].strip("[]")]) if found else (parts[0], [])
    return upright(head), below + [upright(part) for part in parts[1:]]


def upright(word: str) -> str:
    """A word in LaTeX: letters as they are, longer ones upright, Greek ones by their names."""
    if len(word) == 1 and not word.isascii():
        kind, _, letter = unicodedata.name(word, "").rpartition(" LETTER ")
        letter = letter.lower().replace("lamda", "lambda")
        letter = letter.capitalize() if kind == "GREEK CAPITAL" else letter
        if letter in GREEK:
            return f"\\{letter}"
    plain = word if len(word) == 1 or word.isdigit() else None
    return plain or rf"\mathrm{{{_SPECIAL.sub(ESCAPED, word)}}}"
