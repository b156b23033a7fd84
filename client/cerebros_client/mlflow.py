"""A trial's files (model, plots) into its MLflow run, through the tracking server's artifact proxy; standard library.

    uri = log_files(mlflow_run_id, ["model.keras", "plots"])
    reporter.report(run, trial, status="succeeded", mlflow_run_id=mlflow_run_id, artifact_uri=uri)

Each file is streamed, tried again while the server is down, and put in one piece: one that was broken off is not there.
What a call that was killed has put already is told by its size, and not sent again.
"""

from __future__ import annotations

import base64
import http.client
import json
import logging
import os
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from cerebros_client.errors import ClientError

log = logging.getLogger("cerebros_client.mlflow")

#: of one read or write at the network; a large file takes as long as it takes
TIMEOUT_S = 60.0
ATTEMPTS = 8
#: between attempts: about a minute in all
FIRST_PAUSE_S, MOST_PAUSE_S = 0.5, 20.0
BLOCK_BYTES = 1 << 20
#: of one call: more is somebody's home folder
MOST_FILES = 10_000
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_MOST_ANSWER = 16 * 1024 * 1024


class FilesError(ClientError):
    """Files are not all in MLflow: why, and which. The same call again sends what is missing."""


class _Later(Exception):  # noqa: N818 - never leaves this module
    """The server does not answer, or asks to wait."""


class _Answer(NamedTuple):
    status: int
    body: bytes


def log_files(
    mlflow_run_id: str,
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    folder: str = "",
    tracking_uri: str | None = None,
    again: bool = False,
) -> str:
    """Puts files and folders below `folder` of the run's artifacts; the URI for `artifact_uri` of the report.

    `tracking_uri` and the ways in are those of MLflow's own client: MLFLOW_TRACKING_URI, MLFLOW_TRACKING_TOKEN or
    MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, MLFLOW_TRACKING_SERVER_CERT_PATH. `again` sends files too
    that are there with the same size.

    Raises `FileNotFoundError` and `ValueError` before anything is sent, `FilesError` when MLflow will not have them or
    does not answer for about a minute.
    """
    files = list(_files(paths))
    with _Server(tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "")) as server:
        root = _root(server, mlflow_run_id)
        base = "/".join(part for part in (urlsplit(root).path.strip("/"), folder.strip("/")) if part)
        there: dict[str, dict[str, int]] = {}
        for path, name in files:
            place = f"{folder.strip('/')}/{name}".strip("/")
            above = place.rpartition("/")[0]
            if above not in there and not again:
                there[above] = _sizes(server, mlflow_run_id, above)
            if again or there[above].get(place) != path.stat().st_size:
                server.put(f"/api/2.0/mlflow-artifacts/artifacts/{quote(f'{base}/{name}')}", path)
    return f"{root}/{folder.strip('/')}".rstrip("/")


def _files(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> Iterator[tuple[Path, str]]:
    """Each file, and its name in MLflow; folders with all that is in them, links to folders left out."""
    given = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    names: dict[str, Path] = {}
    for one in map(Path, given):
        inside = sorted(path for path in one.rglob("*") if path.is_file()) if one.is_dir() else [one]
        for path in inside:
            path.stat()  # says which is missing
            name = (Path(one.resolve().name) / path.relative_to(one)).as_posix() if one.is_dir() else path.name
            if name in names:
                raise ValueError(f"{path} and {names[name]} would both be {name} in MLflow")
            names[name] = path
            if len(names) > MOST_FILES:
                raise ValueError(f"more than {MOST_FILES:,} files; the last was {path}")
    for name, path in names.items():
        yield path, name


def _root(server: _Server, run_id: str) -> str:
    answer = server.ask("GET", "/api/2.0/mlflow/runs/get?" + urlencode({"run_id": run_id}))
    uri = str(_json(answer, server)["run"]["info"]["artifact_uri"])
    if urlsplit(uri).scheme != "mlflow-artifacts":
        raise FilesError(f"the artifacts of run {run_id} are at {uri}, not behind MLflow's artifact proxy")
    return uri


def _sizes(server: _Server, run_id: str, folder: str) -> dict[str, int]:
    """Sizes of the files that are in a folder of the run, by path."""
    found: dict[str, int] = {}
    token = ""
    while True:
        asked = {"run_id": run_id, "path": folder} | ({"page_token": token} if token else {})
        page = _json(server.ask("GET", "/api/2.0/mlflow/artifacts/list?" + urlencode(asked)), server)
        found |= {one["path"]: int(one.get("file_size", 0)) for one in page.get("files", ()) if not one.get("is_dir")}
        token = page.get("next_page_token", "")
        if not token:
            return found


def _json(answer: _Answer, server: _Server) -> Any:
    try:
        read = json.loads(answer.body or b"{}")
    except ValueError:
        raise FilesError(f"what answers at {server.where} is no MLflow tracking server") from None
    return read


class _Server:
    """One connection to a tracking server, kept and opened again."""

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("set MLFLOW_TRACKING_URI (or tracking_uri) to the server, like http://mlflow:5000")
        self._secure, self._host, self._port = parts.scheme == "https", parts.hostname, parts.port
        self._path = parts.path.rstrip("/")
        self.where = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
        self._headers = _authorization()
        self._connection: http.client.HTTPConnection | None = None

    def __enter__(self) -> _Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def ask(self, method: str, path: str) -> _Answer:
        return self._patiently(lambda: self._request(method, path, None, {}), path.partition("?")[0])

    def put(self, place: str, path: Path) -> None:
        def send() -> _Answer:
            with path.open("rb") as content:
                size = os.fstat(content.fileno()).st_size
                headers = {"content-type": "application/octet-stream", "content-length": str(size)}
                return self._request("PUT", place, content, headers)

        self._patiently(send, str(path))

    def _patiently(self, work: Any, what: str) -> _Answer:
        pause = FIRST_PAUSE_S
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer: _Answer = work()
                break
            except _Later as error:
                self._close()
                if attempt == ATTEMPTS:
                    raise FilesError(f"MLflow at {self.where}: {error}; {what} is not there") from None
                log.warning("MLflow at %s: %s; %s is tried again", self.where, error, what)
            time.sleep(pause)
            pause = min(pause * 2, MOST_PAUSE_S)
        if answer.status != 200:
            said = " ".join(answer.body[:300].decode("utf-8", "replace").split())
            raise FilesError(f"MLflow at {self.where} refuses {what}: HTTP {answer.status} {said}")
        return answer

    def _request(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> _Answer:
        try:
            if self._connection is None:
                self._connection = self._connected()
            self._connection.request(method, self._path + path, body, {**self._headers, **headers})
            response = self._connection.getresponse()
            answer = _Answer(response.status, response.read(_MOST_ANSWER))
        except ssl.SSLCertVerificationError as error:
            raise FilesError(
                f"MLflow at {self.where}: its certificate is not trusted ({error.verify_message})"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise _Later(f"it does not answer ({type(error).__name__})") from None
        if answer.status in _AGAIN:
            raise _Later(f"HTTP {answer.status}")
        return answer

    def _connected(self) -> http.client.HTTPConnection:
        if not self._secure:
            return http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S, blocksize=BLOCK_BYTES)
        context = ssl.create_default_context(cafile=os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH"))
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=TIMEOUT_S, blocksize=BLOCK_BYTES, context=context
        )


def _authorization() -> dict[str, str]:
    token, user = os.environ.get("MLFLOW_TRACKING_TOKEN"), os.environ.get("MLFLOW_TRACKING_USERNAME")
    if token:
        return {"authorization": f"Bearer {token}"}
    if user:
        pair = f"{user}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}"
        return {"authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    return {}
