"""A local stack as production has it: TLS and passwords on both servers, an account of its own for the processor.

The packaged PostgreSQL is built without TLS, so a front speaks it, as pgbouncer or a cloud's proxy would; passwords
(SCRAM on both servers) and all else are the real servers' own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from processor.local.files import free_ports
from processor.local.java import Jvm
from processor.local.kafka import KafkaServer
from processor.local.postgres import PostgresServer, unprivileged_account
from processor.local.stack import LocalStack
from tests.support.certificates import Authority

HOST = "127.0.0.1"
#: the superuser of the tests needs no password, anybody else does
HBA = f"host all postgres {HOST}/32 trust\nhost all all {HOST}/32 scram-sha-256\n"
SSL_REQUEST = bytes.fromhex("0000000804d2162f")  # PostgreSQL manual, 54.7 Message Formats: SSLRequest


class SecureKafka(KafkaServer):
    """A broker with a second listener, SASL_SSL on `secure_port`, where a user may do what an ACL allows and no more.

    Whoever comes by the first listener (the broker itself, the tests) may do anything.
    """

    secure_port: int
    certificate: Path

    def _settings(self, data: Path) -> dict[str, str]:
        settings = super()._settings(data)
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        return {
            **settings,
            "listeners": f"{settings['listeners']},CLIENTS://{HOST}:{self.secure_port}",
            "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,CLIENTS:SASL_SSL",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.clients.scram-sha-512.sasl.jaas.config": scram,
            "listener.name.clients.ssl.keystore.type": "PEM",
            "listener.name.clients.ssl.keystore.location": str(self.certificate),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }


class TlsFront:
    """Answers PostgreSQL's SSLRequest, ends the TLS and passes the rest on; a client without TLS is sent away."""

    def __init__(self, target: int, certificate: Path) -> None:
        self.port = 0
        self._target, self._certificate = target, certificate
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, HOST, 0), self._loop).result(10)
        self.port = int(server.sockets[0].getsockname()[1])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(_end_all(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._certificate)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if await reader.readexactly(len(SSL_REQUEST)) == SSL_REQUEST:
                writer.write(b"S")
                await writer.start_tls(context)
                server_reader, server_writer = await asyncio.open_connection(HOST, self._target)
                await asyncio.gather(_pump(reader, server_writer), _pump(server_reader, writer))
        writer.close()


async def _end_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()


class SecureStack(LocalStack):
    """`bootstrap_servers` and `database_url` are the superuser's ways in, `secure_*` are everybody else's.

    Clients must trust the file `ours`; nothing is signed by the authority in the file `strangers`.
    """

    ours: Path
    strangers: Path
    front: TlsFront

    def _make_servers(self, folder: Path, lock: int, jvm: Jvm) -> None:
        postgres, broker, controller, secure = free_ports(4)
        files = folder / "certificates"
        files.mkdir()
        authority = Authority("tests")
        certificate, key = authority.issue("localhost", addresses=(HOST,))
        self.ours, self.strangers, server = files / "ours.pem", files / "strangers.pem", files / "server.pem"
        self.ours.write_text(authority.certificate)
        self.strangers.write_text(Authority("a stranger").certificate)
        server.write_text(key + certificate)
        hba = files / "hba.conf"
        hba.write_text(HBA)
        options = {"hba_file": str(hba), "password_encryption": "scram-sha-256"}
        if (account := unprivileged_account()) is not None:
            os.chown(hba, *account)
        self.postgres = PostgresServer(folder / "postgres", postgres, lock=lock, temporary=True, options=options)
        self.kafka = kafka = SecureKafka(folder / "kafka", broker, controller, jvm, lock=lock, temporary=True)
        kafka.secure_port, kafka.certificate = secure, server
        self.secure_bootstrap_servers = f"{HOST}:{secure}"
        self.front = TlsFront(postgres, server)

    def __enter__(self) -> Self:
        super().__enter__()
        self._cleanup.enter_context(self.front)
        return self

    def secure_url(self, user: str, password: str, **parameters: Any) -> str:
        """The way through TLS into the database `cerebros`."""
        query = {"sslmode": "verify-full", "sslrootcert": self.ours, **parameters}
        tail = "&".join(f"{name}={value}" for name, value in query.items())
        return f"postgresql://{user}:{password}@{HOST}:{self.front.port}/cerebros?{tail}"

    def kafka_options(self, user: str, password: str) -> dict[str, str]:
        """What librdkafka needs for the secure listener."""
        return {
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self.ours),
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": user,
            "sasl.password": password,
        }

    def add_kafka_user(
        self, user: str, password: str, rights: Iterable[tuple[ResourceType, str, AclOperation]]
    ) -> None:
        """Rights are kinds and names of resources, each with what the user may do with it."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers})
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        made = admin.alter_user_scram_credentials([UserScramCredentialUpsertion(user, info, password.encode())])
        literal, allow = ResourcePatternType.LITERAL, AclPermissionType.ALLOW
        acls = [AclBinding(kind, name, literal, f"User:{user}", "*", what, allow) for kind, name, what in rights]
        for done in (*made.values(), *admin.create_acls(acls).values()):
            done.result(30)
