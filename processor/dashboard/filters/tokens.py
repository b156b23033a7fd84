"""Text -> tokens, each with the place where it stands."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from processor.dashboard.filters.tree import MAX_LENGTH, FilterError

_SPACE = re.compile(r"\s+")
_OPERATOR = re.compile(r"<=|>=|!=|<>|==|[=<>~(),]")
_PLAIN = re.compile(r"[^\s()=<>!~,'\"]+")
#: a quote inside of quotes is written twice, or behind a backslash
_QUOTED = re.compile(r"\"((?:[^\"\\]|\\.|\"\")*)\"|'((?:[^'\\]|\\.|'')*)'", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)|(\"\"|'')", re.DOTALL)
SAME = {"==": "=", "<>": "!=", "~": "contains"}


class Piece(NamedTuple):
    """A part of a word: `metrics."val acc".x` has three."""

    text: str
    quoted: bool


class Token(NamedTuple):
    """A word has pieces; an operator, a bracket or a comma has none. At the end there is one of kind `end`."""

    kind: Literal["word", "symbol", "end"]
    text: str
    at: int
    pieces: tuple[Piece, ...] = ()

    @property
    def bare(self) -> str:
        """The word as it stands where no part of it is quoted: only such can be a keyword."""
        return self.text if self.kind == "word" and not any(piece.quoted for piece in self.pieces) else ""

    @property
    def keyword(self) -> str:
        return self.bare.lower()


def tokenize(text: str) -> list[Token]:
    """Raises `FilterError` where the text is too long, holds what can't be stored, or a quote is not closed."""
    if len(text) > MAX_LENGTH:
        raise FilterError(f"a filter has at most {MAX_LENGTH} characters, this one {len(text)}", MAX_LENGTH)
    for at, character in enumerate(text):
        if character == "\0" or 0xD800 <= ord(character) <= 0xDFFF:
            raise FilterError("NUL and half characters are in no stored text: leave them out", at)
    tokens: list[Token] = []
    at = 0
    while True:
        if space := _SPACE.match(text, at):
            at = space.end()
        if at == len(text):
            return [*tokens, Token("end", "the end", at)]
        token = _operator(text, at) or _word(text, at)
        tokens.append(token)
        at += len(token.text)


def _operator(text: str, at: int) -> Token | None:
    found = _OPERATOR.match(text, at)
    return Token("symbol", found[0], at) if found else None


def _word(text: str, begin: int) -> Token:
    """Plain and quoted parts that follow each other without a blank."""
    pieces, at = [], begin
    while True:
        if plain := _PLAIN.match(text, at):
            pieces.append(Piece(plain[0], False))
            at = plain.end()
        elif quoted := _QUOTED.match(text, at):
            inside = quoted[1] if quoted[1] is not None else quoted[2]
            pieces.append(Piece(_ESCAPED.sub(lambda one: one[1] or one[2][0], inside), True))
            at = quoted.end()
        else:
            break
    if at < len(text) and text[at] in "'\"":
        raise FilterError(f"the quote {text[at]} is not closed", at)
    if not pieces:
        raise FilterError(f"{text[begin]} alone means nothing here: != is unequal", begin)
    return Token("word", text[begin:at], begin, tuple(pieces))
