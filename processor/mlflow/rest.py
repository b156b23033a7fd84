"""MLflow's REST interface (2.0) over urllib3; the one place where its answers are sorted, by code, never by text.

Not MLflow's own client: one `create_run()` of it made four runs while the server's database stalled. Each call here is
one request; who calls decides what is tried again.

    TransientError   no connection, too slow, 408, 425, 429, 502, 503, 504, an answer that is not MLflow's (200, 404,
                     405, 410)
    Doubtful         500 and other 5xx: the server is broken, or this request breaks it
    SetupError       401, 403 (Forbidden), a redirect: a person has to act
    Refused          any other 4xx: this request will never be taken
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlsplit

import msgspec
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from processor.core.errors import ProcessorError, SetupError, TransientError
from processor.mlflow.answers import as_pairs, own_words, read_experiment, read_run, retry_after, same_request, why
from processor.mlflow.content import Metric
from processor.mlflow.ports import Busy, Doubtful, Experiment, Forbidden, Refused, Run

T = TypeVar("T")
API = "/api/2.0/mlflow/"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts/"
CONNECT_SECONDS = 10.0
_WAIT = frozenset({408, 425, 429, 502, 503, 504})
#: what a proxy says while there is no server behind it: only MLflow's own word is taken for it
_NOT_THERE = frozenset({404, 405, 410})


class Access(NamedTuple):
    """How the server lets us in: nothing, a user with a password, or a token; files for TLS."""

    username: str | None = None
    password: str | None = None
    token: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None


ANYBODY = Access()


class _Prompt:
    """Asks the kernel to acknowledge at once.

    MLflow with several workers sends head and body of an answer apart, without TCP_NODELAY: the body waits for our
    acknowledgement of the head, 40 ms a request. The option holds for one read, so it is set before each.
    """

    sock: Any

    def getresponse(self) -> Any:
        option = getattr(socket, "TCP_QUICKACK", None)  # Linux
        if option is not None and isinstance(self.sock, socket.socket):
            self.sock.setsockopt(socket.IPPROTO_TCP, option, 1)
        return super().getresponse()  # type: ignore[misc] # of the connection that it is mixed into


class _Connection(_Prompt, HTTPConnection):
    pass


class _TlsConnection(_Prompt, HTTPSConnection):
    pass


class RestTracking:
    """A tracking server at `uri`, with at most `connections` at a time; for several threads."""

    def __init__(self, uri: str, access: Access = ANYBODY, *, connections: int = 4, timeout_s: float = 30.0) -> None:
        """Connects to nobody yet. Raises `SetupError` where a file for TLS can't be read."""
        parts = urlsplit(uri)
        self.where = f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
        self._headers = {"content-type": "application/json", **_authorization(access)}
        self._connections = connections
        self._pool = self._open(access, timeout_s)

    def _open(self, access: Access, timeout_s: float) -> urllib3.PoolManager:
        for file in filter(None, (access.ca_file, access.cert_file, access.key_file)):
            try:
                Path(file).read_bytes()
            except OSError as error:  # as the first request meets it, the file has no name
                raise SetupError(f"MLflow at {self.where}: cannot read {file}: {error.strerror}") from None
        try:
            pool = urllib3.PoolManager(
                maxsize=self._connections,
                block=True,
                retries=False,
                timeout=urllib3.Timeout(connect=min(CONNECT_SECONDS, timeout_s), read=timeout_s),
                ca_certs=access.ca_file,
                cert_file=access.cert_file,
                key_file=access.key_file,
            )
            plain, tls = urllib3.HTTPConnectionPool, urllib3.HTTPSConnectionPool
            pool.pool_classes_by_scheme = {
                "http": type("Plain", (plain,), {"ConnectionCls": _Connection}),
                "https": type("Tls", (tls,), {"ConnectionCls": _TlsConnection}),
            }
            pool.connection_from_url(self.where)
        except (OSError, urllib3.exceptions.HTTPError) as error:
            raise SetupError(f"MLflow at {self.where}: {error}") from None
        return pool

    def experiment(self, name: str) -> Experiment | None:
        try:
            found = self._get("experiments/get-by-name", experiment_name=name)
        except Refused as error:
            if error.status != 404:
                raise
            return None
        return self._understood(found, lambda said: read_experiment(said["experiment"]))

    def create_experiment(self, name: str, tags: Mapping[str, str]) -> Experiment:
        try:
            made = self._post("experiments/create", name=name, tags=as_pairs(tags.items()))
        except Refused as error:
            found = self.experiment(name)  # somebody was quicker, or it is there and deleted
            if found is None:
                raise error from None
            return found
        return Experiment(self._understood(made, lambda said: str(said["experiment_id"])), True, dict(tags))

    def tag_experiment(self, experiment_id: str, key: str, value: str) -> None:
        self._post("experiments/set-experiment-tag", experiment_id=experiment_id, key=key, value=value)

    def create_run(self, experiment_id: str, name: str, start_ms: int, tags: Mapping[str, str]) -> Run:
        answer = self._post(
            "runs/create", experiment_id=experiment_id, run_name=name, start_time=start_ms, tags=as_pairs(tags.items())
        )
        return self._understood(answer, lambda said: read_run(said["run"]))

    def run(self, run_id: str) -> Run | None:
        try:
            found = self._get("runs/get", run_id=run_id)
        except Refused as error:
            if error.status != 404:
                raise
            return None
        return self._understood(found, lambda said: read_run(said["run"]))

    def search(
        self,
        experiment_ids: Sequence[str],
        filter_: str,
        *,
        page: str = "",
        most: int = 1000,
        deleted: bool = False,
    ) -> tuple[list[Run], str]:
        answer = self._post(
            "runs/search",
            experiment_ids=list(experiment_ids),
            filter=filter_,
            max_results=most,
            order_by=["attributes.start_time ASC"],
            run_view_type="ALL" if deleted else "ACTIVE_ONLY",
            **({"page_token": page} if page else {}),
        )
        runs = self._understood(answer, lambda said: [read_run(one) for one in said.get("runs", ())])
        return runs, answer.get("next_page_token", "")

    def log(
        self, run_id: str, metrics: Sequence[Metric], params: Sequence[tuple[str, str]], tags: Sequence[tuple[str, str]]
    ) -> None:
        points = [{"key": one.key, "value": one.value, "timestamp": one.time_ms, "step": one.step} for one in metrics]
        self._post("runs/log-batch", run_id=run_id, metrics=points, params=as_pairs(params), tags=as_pairs(tags))

    def update_run(self, run_id: str, status: str, end_ms: int | None) -> None:
        ends = {} if end_ms is None else {"end_time": end_ms}
        self._post("runs/update", run_id=run_id, status=status, **ends)

    def delete_run(self, run_id: str) -> None:
        try:
            self._post("runs/delete", run_id=run_id)
        except Refused:
            found = self.run(run_id)
            if found is not None and found.active:
                raise

    def put_file(self, run: Run, path: str, content: bytes) -> bool:
        place = urlsplit(run.artifact_uri)
        if place.scheme != "mlflow-artifacts":
            return False
        self._ask("PUT", ARTIFACTS + quote(f"{place.path.strip('/')}/{path}"), body=content)
        return True

    def _get(self, call: str, **fields: str) -> Any:
        return self._ask("GET", API + call, fields=fields)

    def _post(self, call: str, **body: Any) -> Any:
        return self._ask("POST", API + call, body=msgspec.json.encode(body))

    def _ask(self, method: str, path: str, *, body: bytes | None = None, fields: Mapping[str, str] = {}) -> Any:
        url, headers = self.where + path, self._headers
        try:
            if fields:
                answer = self._pool.request(method, url, fields=dict(fields), headers=headers, redirect=False)
            else:
                answer = self._pool.request(method, url, body=body, headers=headers, redirect=False)
        except urllib3.exceptions.SSLError as error:
            raise SetupError(
                f"MLflow at {self.where}: TLS fails ({why(error)}); check PROCESSOR_MLFLOW_CA_FILE"
            ) from None
        except urllib3.exceptions.HTTPError as error:
            raise TransientError(f"MLflow at {self.where} does not answer ({why(error)})") from None
        if answer.status != 200:
            raise self._sorted(answer, path, same_request(path, fields, body))
        return self._read(answer.data)

    def _read(self, data: bytes) -> Any:
        try:
            read = msgspec.json.decode(data or b"{}")
        except (msgspec.DecodeError, RecursionError):
            read = None
        if not isinstance(read, dict):  # a proxy's page, or the wrong address
            raise TransientError(f"what answers at {self.where} does not speak MLflow's REST interface")
        return read

    def _understood(self, said: Any, read: Callable[[Any], T]) -> T:
        try:
            return read(said)
        except (AttributeError, KeyError, TypeError, ValueError):  # JSON of something else
            raise TransientError(f"what answers at {self.where} does not speak MLflow's REST interface") from None

    def _sorted(self, answer: Any, path: str, request: str) -> ProcessorError:
        status, (said, is_mlflow) = answer.status, own_words(answer.data)
        words = f"MLflow at {self.where}: HTTP {status} to {path.rpartition('/mlflow/')[2]}{said and f': {said}'}"
        if status in _WAIT or (status in _NOT_THERE and path.startswith(API) and not is_mlflow):
            return Busy(words, retry_after(answer.headers.get("retry-after")))
        if status >= 500:
            return Doubtful(words, request)
        if status in (401, 403):
            kind = Forbidden if status == 403 else SetupError
            return kind(f"{words}; check user, password or token, and the server's --allowed-hosts")
        if status < 400:
            return SetupError(f"{words}; PROCESSOR_MLFLOW_TRACKING_URI must be where the server itself is")
        return Refused(words, status)


def _authorization(access: Access) -> dict[str, str]:
    if access.token:
        return {"authorization": f"Bearer {access.token}"}
    if access.username:
        return dict(urllib3.make_headers(basic_auth=f"{access.username}:{access.password or ''}"))
    return {}
