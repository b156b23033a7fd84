"""The filter language: what is read, what is refused and where, and that nothing typed becomes SQL."""

from __future__ import annotations

import re
import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.dashboard.filters.fields import COLUMNS
from processor.dashboard.filters.parser import parse
from processor.dashboard.filters.sql import compile_filter
from processor.dashboard.filters.text import write
from processor.dashboard.filters.tree import (
    EVERYTHING,
    MAX_LENGTH,
    Among,
    And,
    Compare,
    Contains,
    FilterError,
    Is,
    Not,
    Or,
    Path,
    Search,
)
from tests.support.holding import holds
from tests.unit.dashboard.filters import trees, trials

ACCURACY = Path("either", ("accuracy",))


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", EVERYTHING),
        ("  \n ", EVERYTHING),
        ("accuracy > 0.9", Compare(ACCURACY, ">", Decimal("0.9"))),
        ("accuracy>.9", Compare(ACCURACY, ">", Decimal("0.9"))),
        ("metrics.accuracy >= 9e-1", Compare(Path("metrics", ("accuracy",)), ">=", Decimal("0.9"))),
        ('params."layer 1".units = 8', Compare(Path("parameters", ("layer 1", "units")), "=", Decimal(8))),
        ('"status" = x', Compare(Path("either", ("status",)), "=", "x")),
        ("status = failed", Compare(Path("status"), "=", "failed")),
        ("trial = 5", Compare(Path("trial_id"), "=", "5")),
        ("lr = '5'", Compare(Path("either", ("lr",)), "=", "5")),
        ("lr == TRUE", Compare(Path("either", ("lr",)), "=", True)),
        ("spectral_norm is not true", Not(Compare(Path("spectral_norm"), "=", True))),
        ("lr is null", Is(Path("either", ("lr",)), "missing")),
        ("lr is present", Not(Is(Path("either", ("lr",)), "missing"))),
        ("lr not in (1, adam, \"a,b\")", Not(Among(Path("either", ("lr",)), (Decimal(1), "adam", "a,b")))),
        ("error ~ 'out of memory'", Contains(Path("error_message"), "out of memory")),
        ("resnet", Search("resnet")),
        ("'a and b'", Search("a and b")),
        ("resnet status != failed", And((Search("resnet"), Compare(Path("status"), "!=", "failed")))),
        ("a or b and c", Or((Search("a"), And((Search("b"), Search("c")))))),
        ("(a or b) and not c", And((Or((Search("a"), Search("b"))), Not(Search("c"))))),
        ("NOT NOT a", Not(Not(Search("a")))),
        ('"" = 1', Compare(Path("either", ("",)), "=", Decimal(1))),
        ("x = 'it''s'", Compare(Path("either", ("x",)), "=", "it's")),
        (r"x = 'it\'s \\'", Compare(Path("either", ("x",)), "=", "it's \\")),
    ],
)  # fmt: skip
def test_a_filter_is_read(text: str, tree: Any) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("status = faild", 9, "did you mean failed?"),
        ("status > 3", 9, "takes =, !=, contains"),
        ("accuracy > high", 11, "a text takes =, !=, contains"),
        ("rank = best", 7, "rank is a number"),
        ("spectral_norm = maybe", 16, "true or false"),
        ("updated_at > yesterday", 13, "is no time"),
        ("accuracy = NaN", 11, "write `is nan`"),
        ("accuracy = null", 11, "write `is missing`"),
        ("accuracy is good", 12, "`is` takes missing"),
        ("updated_at is nan", 14, "updated_at can be missing"),
        ("accuracy in 5", 12, "a list in brackets"),
        ("accuracy in (5 6)", 15, "a comma or a closing bracket"),
        ("accuracy in ()", 13, "a value is expected"),
        ("accuracy >", 10, "a value is expected, not the end"),
        ("(a or b", 0, "not closed"),
        ("a or b)", 6, ") is not expected here"),
        ("a and", 5, "a condition is expected"),
        ("and a", 0, "a condition is expected"),
        ("x = 'open", 4, "the quote ' is not closed"),
        ("metrics = 5", 0, "metrics needs a name"),
        ("metrics. = 5", 0, "a name is missing"),
        ("a..b = 5", 0, "a name is missing"),
        ("a ! b", 2, "alone means nothing"),
        ("a\0b", 1, "NUL"),
        ("a\ud800", 1, "half characters"),
        ("not " * 21 + "a", 80, "at most 20 deep"),
        ("(" * 21 + "a" + ")" * 21, 20, "at most 20 deep"),
        (" or ".join(["a"] * 51), 250, "at most 50 conditions"),
        (f"a in ({', '.join('1' * 101)})", 306, "at most 100 values"),
        (".".join("a" * 17) + " = 1", 0, "at most 16 names"),
        ("a" * (MAX_LENGTH + 1), MAX_LENGTH, "at most 2000 characters"),
        ("x = 1e9999", 4, "between 1e-400 and 1e400"),
        ("x = -1e999999999", 4, "between 1e-400 and 1e400"),
        ("x < 1e-999999999", 4, "between 1e-400 and 1e400"),
        ("x in (1, 1e9999999999999999999999)", 9, "between 1e-400 and 1e400"),
    ],
)
def test_what_is_no_filter_is_refused_where_it_goes_wrong(text: str, at: int, words: str) -> None:
    with pytest.raises(FilterError, match=re.escape(words)) as refused:
        parse(text)
    assert refused.value.at == at


@settings(deadline=None)
@given(st.text(max_size=300) | st.lists(st.sampled_from([*"()=<>!~,'\"\\ .ab1", " and ", " not "])).map("".join))
def test_any_text_is_a_filter_or_a_refusal_at_a_place_in_it(text: str) -> None:
    assert 0 <= refusal(text) <= len(text)


def refusal(text: str) -> int:
    """Where it is refused; 0 where it is none."""
    try:
        parse(text)
    except FilterError as error:
        return error.at
    return 0


@settings(max_examples=300, deadline=None)
@given(trees)
def test_what_is_written_is_read_as_what_it_was(tree: Any) -> None:
    again = parse(write(tree))
    assert write(again) == write(tree)


@settings(max_examples=300, deadline=None)
@given(trees, trials)
def test_what_is_written_holds_the_same_trials_and_its_negation_the_others(tree: Any, trial: Any) -> None:
    assert holds(parse(write(tree)), trial) == holds(tree, trial)
    assert holds(Not(tree), trial) != holds(tree, trial)


WORDS = """
and or is not true false null case when then end in any exists select from unnest as one where strpos lower collate C
jsonb jsonb_typeof to_jsonb coalesce numeric text boolean timestamptz array cardinality trial run
mlflow_links link state server order by desc limit
"""


@settings(max_examples=300, deadline=None)
@given(trees)
def test_no_part_of_a_filter_is_in_the_sql_but_as_a_parameter(tree: Any) -> None:
    condition = compile_filter(tree, first=4)
    numbers = sorted({int(number) for number in re.findall(r"\$(\d+)", condition.sql)})
    assert numbers == list(range(4, 4 + len(condition.args)))
    ours = re.sub(r"'[^']*'", "", condition.sql)
    assert set(re.findall(r"[A-Za-z_]\w*", ours)) <= {*WORDS.split(), *COLUMNS, "metrics", "parameters"}


def test_the_longest_filter_is_read_and_compiled_at_once() -> None:
    text = " and ".join([f"not a.b.c{'x' * 20} in (1,2)" for _ in range(45)])[:MAX_LENGTH]
    began = time.process_time()
    compile_filter(parse(text.rpartition(" and ")[0]))
    assert time.process_time() - began < 0.1
