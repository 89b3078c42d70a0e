"""A stand-in for Pinecone's HTTP API, as its documentation and client describe it: indexes with a schema, documents.

It keeps what it is sent in memory, answers exactly, and is as late as the service may be: a search sees a write
only after an earlier search has been answered without it. It refuses what the documentation says is refused. It was
written without access to the service, so it says what ragkit sends, not what the service does with it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import numpy as np

KEY: Final = "pc-secret-key"
MOST_BYTES: Final = 2 * 1024 * 1024
MOST_METADATA: Final = 40 * 1024


@dataclass
class FakeIndex:
    """One index: what was written, and what searches see of it."""

    schema: dict[str, Any]
    host: str
    server: ThreadingHTTPServer
    written: dict[str, dict[str, Any]] = field(default_factory=dict)
    seen: dict[str, dict[str, Any]] = field(default_factory=dict)
    lsn: int = 0
    seen_lsn: int = 0


class FakePinecone:
    """The control plane at `address`; every index gets a port of its own, as it gets a host at the service."""

    def __init__(self) -> None:
        self.indexes: dict[str, FakeIndex] = {}
        self.requests: list[tuple[str, str]] = []
        self.broken = False
        self.lock = threading.RLock()
        self.server, self.address = self._serve(None)

    def _serve(self, name: str | None) -> tuple[ThreadingHTTPServer, str]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def _answer(self, method: str) -> None:
                data = self.rfile.read(int(self.headers.get("content-length") or 0))
                try:
                    if self.headers.get("api-key") != KEY:
                        raise Refused(401, "Invalid API key " + str(self.headers.get("api-key")))
                    if len(data) > MOST_BYTES:
                        raise Refused(413, "request larger than 2 MB")
                    with fake.lock:
                        fake.requests.append((method, self.path))
                        if fake.broken:
                            raise Refused(400, "the stand-in was told to fail")
                        body = json.loads(data) if data else {}
                        status, answer, headers = (
                            fake.control(method, self.path, body) if name is None else fake.data(name, self.path, body)
                        )
                except Refused as exc:
                    status, answer, headers = exc.status, {"error": {"message": exc.message}, "status": exc.status}, {}
                text = json.dumps(answer).encode()
                self.send_response(status)
                for key, value in {"content-type": "application/json", **headers}.items():
                    self.send_header(key, value)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def do_GET(self) -> None:
                self._answer("GET")

            def do_POST(self) -> None:
                self._answer("POST")

            def do_DELETE(self) -> None:
                self._answer("DELETE")

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server, f"http://127.0.0.1:{server.server_address[1]}"

    def control(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        """``/indexes``: create, describe, delete."""
        name = path.removeprefix("/indexes").strip("/")
        if method == "POST" and not name:
            if body["name"] in self.indexes:
                raise Refused(409, "index exists")
            for declared in body["schema"]["fields"].values():
                if declared["type"] not in {"dense_vector", "sparse_vector"}:
                    raise Refused(400, f"unknown field type {declared['type']}")
            server, host = self._serve(body["name"])
            self.indexes[body["name"]] = FakeIndex(body["schema"], host, server)
            return 201, self._model(body["name"]), {}
        if name not in self.indexes:
            raise Refused(404, f"index {name} not found")
        if method == "DELETE":
            stop(self.indexes.pop(name).server)
            return 202, {}, {}
        return 200, self._model(name), {}

    def _model(self, name: str) -> dict[str, Any]:
        index = self.indexes[name]
        return {
            "name": name,
            "host": index.host,
            "schema": index.schema,
            "deployment": {"deployment_type": "managed", "cloud": "aws", "region": "us-east-1", "environment": "e"},
            "deletion_protection": "disabled",
            "status": {"ready": True, "state": "Ready"},
        }

    def data(self, name: str, path: str, body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        """``/namespaces/NAMESPACE/documents/...``."""
        index = self.indexes[name]
        _, _, namespace, _, operation = path.split("/")
        answer: dict[str, Any] = {"namespace": namespace, "usage": {"read_units": 1}}
        if operation == "upsert":
            for document in body["documents"]:
                check(document, index.schema["fields"])
            for document in body["documents"]:
                index.written[f"{namespace}/{document['_id']}"] = document
        elif operation == "delete":
            for key in body["ids"]:
                index.written.pop(f"{namespace}/{key}", None)
        elif operation == "fetch":
            found = {key: index.written.get(f"{namespace}/{key}") for key in body["ids"]}
            answer["documents"] = {key: shown(doc, body.get("include_fields")) for key, doc in found.items() if doc}
            return 200, answer, {}
        elif operation == "list":
            after, limit = body.get("pagination_token", ""), body.get("limit", 100)
            keys = sorted(d["_id"] for k, d in index.written.items() if k.startswith(f"{namespace}/"))
            keys = [key for key in keys if key.startswith(body.get("prefix", "")) and key > after]
            answer["documents"] = [{"_id": key} for key in keys[:limit]]
            answer["pagination"] = {"next": keys[limit - 1]} if len(keys) > limit else None
            return 200, answer, {}
        elif operation == "search":
            documents = [d for k, d in index.seen.items() if k.startswith(f"{namespace}/")]
            documents = [d for d in documents if matches(d, body.get("filter"))]
            [clause] = body["score_by"]
            scored = [(score(clause, document), document) for document in documents]
            if clause["type"] == "sparse_vector":
                scored = [hit for hit in scored if hit[0] > 0]
            scored.sort(key=lambda hit: -hit[0])
            answer["matches"] = [
                {**shown(document, body.get("include_fields", [])), "_score": value}
                for value, document in scored[: body["top_k"]]
            ]
            headers = {"x-pinecone-max-indexed-lsn": str(index.seen_lsn)}
            index.seen, index.seen_lsn = dict(index.written), index.lsn
            return 200, answer, headers
        else:
            raise Refused(404, f"no operation {operation}")
        index.lsn += 1
        count = len(body.get("documents", ()))
        return 200, {"upserted_count": count}, {"x-pinecone-request-lsn": str(index.lsn)}


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def check(document: dict[str, Any], declared: dict[str, Any]) -> None:
    """Refuse what the documentation says is refused."""
    for name, kind in declared.items():
        value = document.get(name)
        if value is None:
            raise Refused(400, f"field {name} is missing")
        if kind["type"] == "dense_vector" and (len(value) != kind["dimension"] or not any(value)):
            raise Refused(400, f"field {name} has the wrong dimension or is zero")
        if kind["type"] == "sparse_vector":
            indices = value["indices"]
            if not indices or len(set(indices)) != len(indices) or len(indices) != len(value["values"]):
                raise Refused(400, f"field {name} is no sparse vector")
            if not all(0 <= index < 2**32 for index in indices) or not all(value["values"]):
                raise Refused(400, f"field {name} has an index or a value out of range")
    metadata = {key: value for key, value in document.items() if key not in {"_id", *declared}}
    for key, value in metadata.items():
        if not isinstance(value, (str, int, float, bool)) and not all(isinstance(item, str) for item in value):
            raise Refused(400, f"metadata {key} is no string, number, boolean or list of strings")
    if len(json.dumps(metadata, ensure_ascii=False).encode()) > MOST_METADATA:
        raise Refused(400, "metadata larger than 40 KB")


def shown(document: dict[str, Any], fields: list[str] | None) -> dict[str, Any]:
    """The fields of a document that were asked for."""
    return {key: value for key, value in document.items() if fields is None or key in {"_id", *fields}}


def matches(document: dict[str, Any], condition: dict[str, Any] | None) -> bool:
    """Metadata filters, the operators that ragkit uses."""
    for name, wanted in (condition or {}).items():
        if name == "$and":
            if not all(matches(document, part) for part in wanted):
                return False
            continue
        [(operator, value)] = wanted.items()
        have = document.get(name)
        options = have if isinstance(have, list) else [have]
        if operator not in {"$in", "$eq"}:
            raise Refused(400, f"unknown operator {operator}")
        if not set(options) & set(value if operator == "$in" else [value]):
            return False
    return True


def score(clause: dict[str, Any], document: dict[str, Any]) -> float:
    """Dot product of a clause's vector with the document's."""
    stored = document[clause["field"]]
    if clause["type"] == "dense_vector":
        return float(np.float32(clause["values"]) @ np.float32(stored))
    weights = dict(zip(stored["indices"], stored["values"], strict=True))
    query = clause["sparse_values"]
    return float(sum(weights.get(i, 0.0) * v for i, v in zip(query["indices"], query["values"], strict=True)))


def stop(server: ThreadingHTTPServer) -> None:
    """Close a server without waiting for its clients."""
    threading.Thread(target=server.shutdown, daemon=True).start()
    server.server_close()


@contextmanager
def fake_pinecone() -> Iterator[FakePinecone]:
    """A running stand-in."""
    fake = FakePinecone()
    try:
        yield fake
    finally:
        for index in fake.indexes.values():
            stop(index.server)
        stop(fake.server)
