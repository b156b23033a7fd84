"""Apache Kafka's jars: downloaded once, each checked against its hash in jars.txt.

`python -m processor.local.jars` resolves `KAFKA` anew and rewrites jars.txt.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processor.core.errors import SetupError
from processor.local.files import package_folder

VERSION = "4.1.2"
KAFKA = f"org.apache.kafka:kafka_2.13:{VERSION}"
# the command-line tools, without what they need for Kafka Connect only; and what writes the log
ALONE = (f"org.apache.kafka:kafka-tools:{VERSION}", "org.apache.logging.log4j:log4j-slf4j-impl:2.25.3")
LOCKFILE = Path(__file__).with_name("jars.txt")
ATTEMPTS = 3
TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Jar:
    """One line of jars.txt: SHA-256, size in bytes, `group:artifact:version`."""

    digest: str
    size: int
    coordinate: str

    @property
    def name(self) -> str:
        """The file's name."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


def class_path(folder: Path) -> str:
    """All jars below `folder`, always in the order of jars.txt: a JVM's archive is tied to it."""
    return os.pathsep.join(str(folder / jar.name) for jar in _read_lockfile())


def download_jars(folder: Path, progress: Callable[[str], None]) -> None:
    """Fill a folder beside `folder` and rename it, so that `folder` is complete once it exists.

    Raises: SetupError when a jar cannot be had, or is not the one that jars.txt names.
    """
    jars = _read_lockfile()
    total, done, told = sum(jar.size for jar in jars), 0, 0
    progress(f"downloading Apache Kafka {VERSION} ({total / 1e6:.0f} MB, once)")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="download-") as name:
        repository = _open_repository(Path(name) / "repository")
        complete = Path(name) / "jars"
        complete.mkdir()
        for jar in jars:
            _fetch(repository, jar).rename(complete / jar.name)
            done += jar.size
            if done * 4 // total > told:
                told = done * 4 // total
                progress(f"downloaded {done / 1e6:.0f} of {total / 1e6:.0f} MB")
        complete.rename(folder)


def _fetch(repository: Any, jar: Jar) -> Path:
    reason = "its content is not what jars.txt names"
    for _ in range(ATTEMPTS):
        artifact = repository.create_dependency(jar.coordinate).artifact
        try:
            path: Path = artifact.resolve()
            if hashlib.sha256(path.read_bytes()).hexdigest() == jar.digest:
                return path
        except (OSError, RuntimeError) as error:  # what requests raises is an OSError
            reason = str(error)
        # jgo takes a file that is there for complete, also what a broken connection left
        shutil.rmtree(repository.repo_cache, ignore_errors=True)
    raise SetupError(f"cannot download {jar.coordinate}: {reason}")


def _open_repository(folder: Path) -> Any:
    """jgo's view of the Maven repositories; it keeps what it downloads below `folder`."""
    package_folder("jgo")
    from jgo.maven import MavenContext

    logging.getLogger("jgo").setLevel(logging.ERROR)
    return MavenContext(repo_cache=folder, remote_repos=_repositories(), timeout=TIMEOUT_SECONDS)


def _repositories() -> dict[str, str]:
    """Names and addresses: those of the user's jgo settings first, then Maven Central."""
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL

    return {**GlobalSettings.load().repositories, "central": MAVEN_CENTRAL_URL}


def _read_lockfile() -> list[Jar]:
    lines = (line.split() for line in LOCKFILE.read_text().splitlines())
    return [Jar(digest, int(size), coordinate) for digest, size, coordinate in lines]


def write_lockfile() -> None:
    """Resolve the jars that `KAFKA` and `ALONE` stand for and write jars.txt."""
    with tempfile.TemporaryDirectory() as name:
        repository = _open_repository(Path(name))
        # resolved by itself: next to others jgo would take their managed versions for Kafka's
        named, needed = repository.resolver.resolve([repository.create_dependency(KAFKA)])
        artifacts = [dependency.artifact for dependency in [*named, *needed]]
        artifacts += [repository.create_dependency(coordinate).artifact for coordinate in ALONE]
        lines = {}
        for artifact in artifacts:
            content = Path(artifact.resolve()).read_bytes()
            coordinate = f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}"
            lines[coordinate] = f"{hashlib.sha256(content).hexdigest()} {len(content):>8} {coordinate}\n"
    LOCKFILE.write_text("".join(line for _, line in sorted(lines.items())))


if __name__ == "__main__":
    write_lockfile()
