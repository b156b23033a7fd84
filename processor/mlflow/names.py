"""Names and texts as MLflow takes them; pure, and the same for the same input, so that a replay writes the same."""

from __future__ import annotations

import posixpath
import re
from hashlib import sha256

#: MLflow refuses more, and answers 400 for the whole request
MAX_KEY = 250
#: in bytes, as file systems count them: 255 with an ending of five
MAX_FILE = 250
#: MLflow cuts params beyond 6000 and tags beyond 8000 without a word; a tag of more than 5000 is refused elsewhere
MAX_PARAM, MAX_TAG = 6000, 5000
#: MLflow checks for 500, and its PostgreSQL and MySQL tables have 256
MAX_EXPERIMENT = 250
_ILLEGAL = re.compile(r"[^\w/.\- :]")


def digest_of(text: str, length: int = 8) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]


def legal_key(name: str) -> str:
    """The name where MLflow takes it as a key, else what is legal of it and 8 digits that tell it from others."""
    legal = _ILLEGAL.sub("_", name)
    if posixpath.normpath(legal) != legal or legal.startswith(("/", ".")) or legal != legal.strip():
        legal = legal.replace("/", "_").strip(" .") or "_"
    return legal if legal == name and len(name) <= MAX_KEY else with_digest(legal, name)


def with_digest(key: str, name: str) -> str:
    """A key that stands for `name` where the key alone is taken, or is not the name."""
    return f"{key[: MAX_KEY - 9]}-{digest_of(name)}"


def file_name(name: str) -> str:
    """The key as the name of a file, before its ending: without slashes, and no two names have the same."""
    legal = legal_key(name)
    flat = legal.replace("/", "_")
    if flat == legal and len(flat.encode()) <= MAX_FILE:
        return flat
    return f"{flat.encode()[: MAX_FILE - 9].decode(errors='ignore')}-{digest_of(name)}"


def cut(text: str, limit: int) -> str:
    """The text where it fits, else its beginning and what the whole can be recognised by."""
    if len(text) <= limit:
        return text
    mark = f"… ({len(text)} characters, sha256 {digest_of(text, 16)})"
    return text[: limit - len(mark)] + mark


def experiment_name(template: str, run_id: str) -> str:
    """The template with the run's id in the place of `{run_id}`."""
    name = template.replace("{run_id}", run_id)
    return name if len(name) <= MAX_EXPERIMENT else f"{name[: MAX_EXPERIMENT - 17]}-{digest_of(name, 16)}"
