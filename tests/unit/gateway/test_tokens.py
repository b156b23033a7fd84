"""Tokens: only their hashes are kept, each has a name and rights, and they are rotated without a restart."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from processor.core.errors import SetupError, UsageError
from processor.core.settings import GatewaySettings
from processor.service.gateway import make_guard
from processor.web import tokens
from processor.web.guard import Guard, names_of_loopback
from processor.web.tokens import GATEWAY, Keyring, line_for, make_token, read_tokens
from tests.unit.gateway.fakes import Sender, Setup, post

PATH = "/v1/reports"
GOOD = json.dumps({"run_id": "run", "trial_id": "t1"})
JSON = {"content-type": "application/json"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


@pytest.fixture(autouse=True)
def _looked_at_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "LOOK_SECONDS", 0.0)


def status(guard: Guard, token: str | None, path: str = PATH) -> int:
    headers = JSON if token is None else {**JSON, "authorization": f"Bearer {token}"}
    method = "GET" if path == "/metrics" else "POST"
    answer = post(Sender(), path, setup=Setup(guard=guard), method=method, content=GOOD, headers=headers)
    if answer.status_code == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")
    return answer.status_code


def test_the_file_holds_no_token_and_each_token_opens(file: Path) -> None:
    first, second = make_token(), make_token()
    file.write_text(f"# trainers\n{line_for('ann', first)}\n\n{line_for('bob', second)}  # since May\n")
    assert first not in file.read_text()
    guard = Guard(Keyring(file, GATEWAY))
    assert [status(guard, one) for one in (first, second, first[:-1], "", None)] == [202, 202, 401, 401, 401]


def test_a_token_may_do_what_its_line_says(file: Path) -> None:
    reporter, prometheus = make_token(), make_token()
    file.write_text(
        line_for("ann", reporter, frozenset(["report"])) + "\n" + line_for("prom", prometheus, frozenset(["metrics"]))
    )
    guard = Guard(Keyring(file, GATEWAY))
    assert (status(guard, reporter), status(guard, prometheus)) == (202, 403)
    assert (status(guard, reporter, "/metrics"), status(guard, prometheus, "/metrics")) == (403, 200)


def test_a_token_is_rotated_and_revoked_without_a_restart(file: Path) -> None:
    old, new = make_token(), make_token()
    file.write_text(line_for("ann", old))
    guard = Guard(Keyring(file, GATEWAY))
    assert (status(guard, old), status(guard, new)) == (202, 401)
    replace(file, line_for("ann", old) + "\n" + line_for("ann", new))
    assert (status(guard, old), status(guard, new)) == (202, 202)
    replace(file, line_for("ann", new))
    assert (status(guard, old), status(guard, new)) == (401, 202)
    replace(file, "")
    assert (status(guard, old), status(guard, new)) == (401, 401)


def test_a_file_that_becomes_unreadable_changes_nothing_and_is_told(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = make_token()
    file.write_text(line_for("ann", token))
    guard = Guard(Keyring(file, GATEWAY))
    replace(file, "ann sha256:123")
    assert status(guard, token) == 202
    assert "tokens_unreadable" in "".join(capsys.readouterr())


def replace(file: Path, text: str) -> None:
    beside = file.with_suffix(".new")
    beside.write_text(text)
    os.replace(beside, file)


@pytest.mark.parametrize(
    "line", ["ann", "ann sha256:zz", f"ann sha256:{'a' * 64} everything", f"a/b sha256:{'a' * 64}", f"x {'a' * 64}"]
)
def test_a_wrong_line_is_named_by_its_number_and_never_shown(file: Path, line: str) -> None:
    file.write_text(f"# one\n{line}\n")
    with pytest.raises(SetupError, match="line 2") as told:
        read_tokens(file, GATEWAY)
    assert "a" * 64 not in str(told.value)


def test_a_file_that_lets_nobody_in_is_refused_at_start(file: Path) -> None:
    with pytest.raises(SetupError, match="can't be read"):
        Keyring(file, GATEWAY)
    file.write_text("# nobody\n")
    with pytest.raises(SetupError, match="holds no token"):
        Keyring(file, GATEWAY)


@pytest.mark.parametrize(("name", "token"), [("a b", "x" * 30), ("", "x" * 30), ("ann", "short"), ("ann", "x" * 2000)])
def test_names_that_can_t_be_read_again_and_tokens_that_can_be_guessed_are_refused(name: str, token: str) -> None:
    with pytest.raises(UsageError):
        line_for(name, token)


def settings(**values: object) -> GatewaySettings:
    return GatewaySettings(_env_file=None, **values)  # type: ignore[call-arg, arg-type]


def test_beyond_loopback_nobody_reports_without_a_token_unless_that_is_said(file: Path) -> None:
    with pytest.raises(SetupError, match="GATEWAY_TOKENS_FILE"):
        make_guard(settings(gateway_listen="0.0.0.0:8080"))
    file.write_text(line_for("ann", make_token()))
    assert status(make_guard(settings(gateway_listen="0.0.0.0:8080", gateway_tokens_file=file)), None) == 401
    assert status(make_guard(settings(gateway_listen="0.0.0.0:8080", gateway_allow_anyone=True)), None) == 202


def test_a_page_that_calls_this_machine_by_a_name_of_its_own_may_not_report() -> None:
    setup = Setup(guard=make_guard(settings()))
    for host, expected in (
        ("127.0.0.1:8080", 202),
        ("localhost", 202),
        ("[::1]:8080", 202),
        ("evil.example:8080", 403),
    ):
        answer = post(Sender(), PATH, setup=setup, content=GOOD, headers={**JSON, "host": host})
        assert answer.status_code == expected
    assert "localhost" in names_of_loopback("127.0.0.1")


def test_who_it_is_comes_before_what_it_sends(file: Path) -> None:
    file.write_text(line_for("ann", make_token()))
    setup = Setup(guard=Guard(Keyring(file, GATEWAY)))
    assert post(Sender(), PATH, setup=setup, content=b"x" * 10_000_000).status_code == 401
