"""What people pass -> what JSON can say. Nothing here raises for a value: what has no form becomes its `repr`, told.

Bounded whatever comes: depth, number of values, length of texts. What is cut is told by a warning that names the place,
such as `parameters.layers[3].activation`, and the warnings are bounded too.
"""

from __future__ import annotations

import reprlib
from typing import Any, NamedTuple

from cerebros_client.forms import NoFormError, Pairs, Pieces, form_of

_PLAIN = frozenset((str, int, float, bool, type(None)))
_NESTING = _PLAIN | {dict, list, tuple}
_TEXT = {str}
#: keys and values that the short look goes through: what holds itself or is large is walked through step by step
_MOST_AT_A_GLANCE, _DEEPEST_AT_A_GLANCE = 5_000, 20
#: steps from an object to JSON: a frame of tensors takes three; some never get there
_STEPS = 8
#: characters of a repr: enough to recognise what it was
_REPR = 200
#: integers beyond this have more digits than Python writes by itself (4300), or in a time that grows with their square
#: where the environment lets it (PYTHONINTMAXSTRDIGITS)
_BITS = 14_000


class Bounds(NamedTuple):
    """How much of a field is kept: `items` is of one list, `values` counts all, `text` is in characters."""

    depth: int = 190  # the processor's limit is 200, a report's own levels included
    items: int = 50_000
    values: int = 50_000  # ten thousand epochs of five metrics
    text: int = 200_000  # a long stack trace
    warnings: int = 20


def _is_short(number: int) -> bool:
    return number.bit_length() < _BITS


def is_plain(*values: dict[str, Any]) -> bool:
    """Whether JSON has a form for each as it is, seen without a look at every scalar; False where that takes long."""
    left, level = _MOST_AT_A_GLANCE, list(values)
    for _ in range(_DEEPEST_AT_A_GLANCE):
        below: list[Any] = []
        for value in level:
            inside: Any = value
            if type(value) is dict:
                if value and set(map(type, value)) != _TEXT:
                    return False
                inside = value.values()
            left -= len(value) + 1
            kinds = set(map(type, inside))
            if left < 0 or not kinds <= _NESTING:
                return False
            if int in kinds and not all(_is_short(one) for one in inside if type(one) is int):
                return False
            if not kinds <= _PLAIN:
                below.extend(one for one in inside if type(one) not in _PLAIN)
        if not below:
            return True
        level = below
    return False


class Walk:
    """One walk through what a report holds; `warnings` says what was bent."""

    def __init__(self, bounds: Bounds) -> None:
        self.warnings: list[str] = []
        self._bounds, self._left, self._unsaid = bounds, bounds.values, 0
        self._above: set[int] = set()

    def plain(self, value: Any, place: str) -> Any:
        """`value` in JSON's terms; the same object where nothing has to be bent."""
        kind = type(value)
        if kind is dict:
            return self._nested(value, place, self._map)
        if kind is list or kind is tuple:
            return self._nested(value, place, self._list)
        if kind in _PLAIN:
            self._left -= 1
            return self._scalar(value, place) if kind is str or kind is int else value
        return self._bent(value, place)

    def told(self) -> list[str]:
        """All warnings, and how many more there would have been."""
        return [*self.warnings, *([f"and {self._unsaid} more values were bent"] if self._unsaid else [])]

    def tell(self, place: str, what: str) -> None:
        if len(self.warnings) < self._bounds.warnings:
            self.warnings.append(f"{place[:_REPR]}: {what}")
        else:
            self._unsaid += 1

    def _scalar(self, value: Any, place: str) -> Any:
        if type(value) is int:
            return value if _is_short(value) else self._described(value, place)
        if len(value) <= self._bounds.text:
            return value
        self.tell(place, f"a text of {len(value)} characters, cut")
        return value[: self._bounds.text]

    def _nested(self, value: Any, place: str, walk: Any) -> Any:
        """A map or a list, unless it holds itself, or lies too deep."""
        if id(value) in self._above:
            self.tell(place, "it holds itself")
            return "<holds itself>"
        if len(self._above) >= self._bounds.depth:
            return self._described(value, place, f"deeper than {self._bounds.depth} levels")
        self._above.add(id(value))
        try:
            return walk(value, place)
        finally:
            self._above.discard(id(value))

    def _map(self, value: Any, place: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        pairs = list(value.items()) if type(value) is dict else value  # one step: another thread may change it
        for key, held in pairs[: self._room(len(pairs), place, getattr(value, "more", False), len(pairs))]:
            name = key if type(key) is str else self._key(key, place)
            if len(name) > self._bounds.text or name in found:
                name = self._other_name(name, found, place)
            found[name] = self.plain(held, f"{place}.{name}" if place else name)
        return found

    def _list(self, value: Any, place: str) -> Any:
        more = getattr(value, "whole", None) or isinstance(value, Pieces)
        items = value[: self._room(len(value), place, more, self._bounds.items)]
        if set(map(type, items)) <= {float, bool, type(None)}:
            self._left -= len(items)
            return items
        return [self.plain(item, f"{place}[{number}]") for number, item in enumerate(items)]

    def _room(self, count: int, place: str, more: Any, most: int) -> int:
        """How many of `count` values may follow; `more`: there were more, how many if it is a number."""
        room = max(0, min(count, self._left, most))
        if more or room < count:
            known = more if type(more) is int else count
            said = f"{known} values" if type(more) is int or not more else "too many values"
            self.tell(place, f"{said}, the first {room} are kept")
        return room

    def _key(self, key: Any, place: str) -> str:
        """JSON's keys are texts: numbers and times as they are written, true, false, null; all else as its repr."""
        form = self._form(key, place)
        if type(form) is int:
            form = self._scalar(form, place)
        if type(form) is str:
            return form
        if form is None or type(form) is bool:
            return {None: "null", True: "true", False: "false"}[form]
        return repr(form) if type(form) in (int, float) else repr_of(key)

    def _other_name(self, name: str, found: dict[str, Any], place: str) -> str:
        """Two keys may be one text, 1 and "1": both values are kept."""
        short = name[: self._bounds.text]
        numbered = (f"{short}#{number}" for number in range(2, len(found) + 3))
        free = short if short not in found else next(one for one in numbered if one not in found)
        self.tell(place, f"a second {short[:_REPR]!r}, or one too long, is {free[:_REPR]!r}")
        return free

    def _bent(self, value: Any, place: str) -> Any:
        if self._left <= 0:
            return self._described(value, place, "too many values")
        form = self._form(value, place)
        if type(form) in _PLAIN:
            self._left -= 1
            return self._scalar(form, place) if type(form) is str or type(form) is int else form
        # the object stays above what it became: one that answers with itself inside is seen to hold itself
        return self._nested(value, place, lambda _, place: self._walked(form, place))

    def _walked(self, form: Any, place: str) -> Any:
        if isinstance(form, Pairs):
            return self._map(form, place)
        return self._list(form, place) if isinstance(form, Pieces) else self.plain(form, place)

    def _form(self, value: Any, place: str) -> Any:
        """A scalar, a map or a list; what has no form is described."""
        steps = 0
        try:
            while type(value) not in _PLAIN and type(value) not in (dict, list, tuple, Pairs, Pieces):
                if steps == _STEPS:
                    raise NoFormError
                value, steps = form_of(value, max(1, self._left)), steps + 1
        except NoFormError:
            return self._described(value, place)
        except Exception as error:  # noqa: BLE001 - code of whatever object it is
            return self._described(value, place, f"it raises {type(error).__name__}")
        return value

    def _described(self, value: Any, place: str, why: str = "no form in JSON") -> str:
        self._left -= 1
        self.tell(place, f"{_kind(value)}, kept as its repr: {why}")
        return repr_of(value)


def _kind(value: Any) -> str:
    return type(value).__name__


class _Short(reprlib.Repr):
    """A repr that costs little however large the object is, and never raises."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = _REPR

    def repr_int(self, x: int, level: int) -> str:
        return super().repr_int(x, level) if _is_short(x) else f"<an integer of {x.bit_length()} bits>"

    def repr_Fraction(self, x: Any, level: int) -> str:  # noqa: N802 - a class' name, as `reprlib` looks for it
        return f"Fraction({self.repr1(x.numerator, level)}, {self.repr1(x.denominator, level)})"


_SHORT = _Short()


def repr_of(value: Any) -> str:
    try:
        said = _SHORT.repr(value)
    except Exception as error:  # noqa: BLE001 - code of whatever object it is
        return f"<{_kind(value)}, whose repr raises {type(error).__name__}>"
    return str.__str__(said)[:_REPR]
