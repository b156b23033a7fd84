"""Every reason of a dead letter says what to do about it."""

from __future__ import annotations

import re

from processor.core.messages import Reason
from processor.core.settings import Settings
from processor.dashboard.pages.rejections import ADVICE, advice_of
from processor.dashboard.pages.rendering import coded


def test_every_reason_has_its_words_and_no_other() -> None:
    assert ADVICE.keys() == {reason.value for reason in Reason}
    assert all(ADVICE.values())
    assert advice_of("a_reason_of_another_release") == ""


def test_settings_that_are_named_are_there() -> None:
    named = re.findall(r"PROCESSOR_(\w+)", " ".join(ADVICE.values()))
    assert named
    assert {name.lower() for name in named} <= set(Settings.model_fields)


def test_what_is_code_is_shown_as_code_and_all_else_is_text() -> None:
    assert coded("set `A` to <b>") == "Set <code>A</code> to &lt;b&gt;"
    assert coded("") == "–"
