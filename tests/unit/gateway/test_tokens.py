"""Tokens: only their hashes are kept, each has a name and rights, and they are rotated without a restart."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from processor.core.errors import SetupError, UsageError
from processor.core.settings import GatewaySettings
from processor.service.gateway import make_guard
from processor.web import tokens
from processor.web.guard import Guard, names_of_loopback
from processor.web.refusals import NotTaken
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


def test_what_hides_the_file_for_a_moment_keeps_no_token_good(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong rights, or no free file in the process: when that ends, nothing of the file tells it."""
    old, new = make_token(), make_token()
    file.write_text(line_for("ann", old))
    guard = Guard(Keyring(file, GATEWAY))
    replace(file, line_for("ann", new))
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", _no_file_free)
        assert [status(guard, old) for _ in range(3)] == [202, 202, 202]
    assert (status(guard, old), status(guard, new)) == (401, 202)
    assert "".join(capsys.readouterr()).count("tokens_unreadable") == 1


def _no_file_free(*_: object, **__: object) -> None:
    raise OSError(errno.EMFILE, "Too many open files")


def test_a_file_is_read_whole_or_not_at_all(file: Path) -> None:
    """Characters are no bytes: what is behind a cut may take a right away."""
    line = line_for("prom", make_token(), frozenset(["metrics"]))
    for filling in ("x", "\u00e9", "\u20ac"):
        size = tokens.MAX_FILE_BYTES - len(line) + len(" metrics")
        comment = "#" + filling * ((size - 2) // len(filling.encode()))
        file.write_text(comment + "#" * (size - 1 - len(comment.encode())) + "\n" + line)
        with pytest.raises(SetupError, match="more than 1048576 bytes"):
            read_tokens(file, GATEWAY)


@pytest.mark.parametrize("again", ["bob sha256:{}", "ann sha256:{} metrics"])
def test_a_token_that_stands_there_twice_with_two_meanings_is_refused(file: Path, again: str) -> None:
    line = line_for("ann", make_token())
    file.write_text(f"{line}\n{line}\n")
    assert len(read_tokens(file, GATEWAY)) == 1
    file.write_text(f"{line}\n{again.format(line[-64:])}\n")
    with pytest.raises(SetupError, match="line 2: the same token"):
        read_tokens(file, GATEWAY)


def test_a_file_of_another_system_s_editor_is_read(file: Path) -> None:
    token = make_token()
    file.write_bytes(b"\xef\xbb\xbf" + line_for("ann", token).encode() + b" \t\r\n\r\n")
    assert status(Guard(Keyring(file, GATEWAY)), token) == 202


def test_whatever_stands_in_authorization_is_no_token_or_one_that_is_not_known(file: Path) -> None:
    """It comes before anybody is known, so nothing of it may fail."""
    file.write_text(line_for("ann", make_token()))
    odd = ["", " ", ":", "!!!", "a", "OgA=", "Og==", "//8=", "7aCA", "\xff\xfe", "\xe9" * 8, "YTpi\xff", "x" * 30_000]
    for guard in (Guard(Keyring(file, GATEWAY), basic=True), Guard(Keyring(file, GATEWAY))):
        for scheme in ("Basic", "basic", "Bearer", "bearer", "", "\xff", "Digest"):
            for said in odd:
                with pytest.raises(NotTaken) as told:
                    guard.check({"authorization": f"{scheme} {said}"}, "report")
                assert told.value.status == 401


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
