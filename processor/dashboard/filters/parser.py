"""Tokens -> tree, by recursive descent:

filter    = [either]
either    = both {"or" both}
both      = negated {["and"] negated}
negated   = "not" negated | "(" either ")" | condition
condition = path operator value | path ["not"] "in" "(" value {"," value} ")" | path "contains" text
          | path "is" ["not"] ("missing" | "present" | "finite" | "nan" | "empty") | text
"""

from __future__ import annotations

from typing import cast

from processor.dashboard.filters.paths import check, check_state, path_of, value_of
from processor.dashboard.filters.tokens import SAME, Token, tokenize
from processor.dashboard.filters.tree import (
    EVERYTHING,
    MAX_DEPTH,
    MAX_LISTED,
    MAX_TERMS,
    Among,
    And,
    Compare,
    Contains,
    FilterError,
    Is,
    Node,
    Not,
    Operator,
    Or,
    Scalar,
    Search,
    State,
)

_COMPARISONS = frozenset({"=", "!=", "<", "<=", ">", ">="})
_STATES: dict[str, State] = {
    "missing": "missing",
    "null": "missing",
    "finite": "finite",
    "nan": "nan",
    "empty": "empty",
}
_WORDS = frozenset({"and", "or", "not", "in", "is", "contains"})


def parse(text: str) -> Node:
    """The tree of a filter; blanks alone hold every trial. Raises `FilterError`, which says where."""
    tokens = tokenize(text)
    return EVERYTHING if tokens[0].kind == "end" else _Parser(tokens).filter()


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens, self._place, self._terms, self._depth = tokens, 0, 0, 0

    def filter(self) -> Node:
        found = self._either()
        if (token := self._here).kind != "end":
            raise FilterError(f"{token.text} is not expected here: conditions are joined by and, or", token.at)
        return found

    @property
    def _here(self) -> Token:
        return self._tokens[self._place]

    def _take(self) -> Token:
        token = self._here
        self._place += token.kind != "end"
        return token

    def _accept(self, word: str) -> bool:
        token = self._here
        if word in (token.keyword, token.text if token.kind == "symbol" else None):
            self._place += 1
            return True
        return False

    def _either(self) -> Node:
        terms = [self._both()]
        while self._accept("or"):
            terms.append(self._both())
        return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def _both(self) -> Node:
        terms = [self._negated()]
        while self._accept("and") or self._begins():
            terms.append(self._negated())
        return terms[0] if len(terms) == 1 else And(tuple(terms))

    def _begins(self) -> bool:
        """Whether a further condition follows without an `and`."""
        token = self._here
        return token.text == "(" or (token.kind == "word" and token.keyword not in _WORDS - {"not"})

    def _negated(self) -> Node:
        if not ((negated := self._accept("not")) or self._accept("(")):
            return self._condition()
        opened = self._tokens[self._place - 1]
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise FilterError(f"brackets and `not` go at most {MAX_DEPTH} deep", opened.at)
        found = Not(self._negated()) if negated else self._either()
        if not negated and not self._accept(")"):
            raise FilterError(f"the bracket is not closed before {self._here.text}", opened.at)
        self._depth -= 1
        return found

    def _condition(self) -> Node:
        token = self._take()
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise FilterError(f"a filter has at most {MAX_TERMS} conditions", token.at)
        if token.kind != "word" or token.keyword in _WORDS:
            raise FilterError(f"a condition is expected, not {token.text}", token.at)
        follows = self._here
        sign = SAME.get(follows.text, follows.text) if follows.kind == "symbol" else follows.keyword
        if sign in _COMPARISONS:
            self._take()
            return self._compare(token, cast(Operator, sign))
        negated = sign == "not" and self._tokens[self._place + 1].keyword == "in"
        self._place += negated
        if self._accept("in"):
            found: Node = self._among(token)
        elif self._accept("contains") or self._accept("~"):
            found = self._contains(token)
        elif self._accept("is"):
            return self._is(token)
        else:
            return Search("".join(piece.text for piece in token.pieces))
        return Not(found) if negated else found

    def _compare(self, left: Token, operator: Operator) -> Node:
        path, right = path_of(left), self._take()
        return Compare(path, operator, check(path, operator, value_of(path, right), right))

    def _among(self, left: Token) -> Node:
        path = path_of(left)
        if not self._accept("("):
            raise FilterError(f"`in` takes a list in brackets: {left.text} in (a, b)", self._here.at)
        values: list[Scalar] = []
        while not values or self._accept(","):
            token = self._take()
            values.append(check(path, "=", value_of(path, token), token))
            if len(values) > MAX_LISTED:
                raise FilterError(f"a list has at most {MAX_LISTED} values", token.at)
        if not self._accept(")"):
            raise FilterError(f"a comma or a closing bracket is expected, not {self._here.text}", self._here.at)
        return Among(path, tuple(values))

    def _contains(self, left: Token) -> Node:
        path, right = path_of(left), self._take()
        if right.kind != "word":
            raise FilterError(f"a text is expected, not {right.text}", right.at)
        text = "".join(piece.text for piece in right.pieces)
        check(path, "contains", text, left)
        return Contains(path, text)

    def _is(self, left: Token) -> Node:
        path, negated, token = path_of(left), self._accept("not"), self._take()
        word = token.keyword
        if word in ("true", "false"):
            found: Node = Compare(path, "=", check(path, "=", word == "true", token))
        elif word == "present":
            found = Not(Is(path, "missing"))
        elif word in _STATES:
            found = Is(path, check_state(path, _STATES[word], token))
        else:
            raise FilterError(
                f"`is` takes missing, present, finite, nan, empty, true or false, not {token.text}", token.at
            )
        return Not(found) if negated else found
