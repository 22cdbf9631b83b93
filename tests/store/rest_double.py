"""A REST double: the routes that QdrantStore asks, over loopback, answered by the client's own local mode.

Every body is read by the client's generated models, which refuse unknown fields. It is no server: it indexes nothing,
and says nothing about speed.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, TypeAdapter
from qdrant_client import QdrantClient, models

VERSION = "1.17.0"


class RestDouble:
    """Listens from `__enter__` to `__exit__`.

    sizes: bytes of every body, by "METHOD /path"
    failures: statuses that the next requests are answered with, with this body and these headers
    indexes: payload indexes that were asked for, by field
    delay_seconds: how long each answer takes
    api_keys: those that requests carried
    """

    def __init__(self, version: str = VERSION) -> None:
        self.version = version
        self.sizes: list[tuple[str, int]] = []
        self.failures: list[int] = []
        self.failure_body = b'{"status": {"error": "told to fail"}}'
        self.failure_headers: dict[str, str] = {}
        self.delay_seconds = 0.0
        self.indexes: dict[str, str] = {}
        self.api_keys: set[str] = set()
        self._backend = QdrantClient(":memory:")
        self._lock = threading.Lock()
        double = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                double.api_keys |= {key for key in [self.headers.get("api-key")] if key}
                threading.Event().wait(double.delay_seconds)
                status, answer = double._answer(self.command, urlsplit(self.path).path, body)
                content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                for header in double.failure_headers.items() if status != 200 else ():
                    self.send_header(*header)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PUT = do_POST = do_DELETE = _answer

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> RestDouble:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._backend.close()

    def _answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        with self._lock:
            self.sizes.append((f"{method} {path}", len(body)))
            if self.failures:
                return self.failures.pop(0), self.failure_body
            if (method, path) == ("GET", "/"):
                return 200, {"title": "REST double", "version": self.version}
            try:
                return 200, {"status": "ok", "time": 0.0, "result": _plain(self._route(method, path, body))}
            except (ValueError, LookupError) as error:
                return 400, {"status": {"error": str(error)}}

    def _route(self, method: str, path: str, body: bytes) -> Any:
        _, _, name, *rest = path.split("/")
        backend = self._backend

        def read(model: Any) -> Any:
            return TypeAdapter(model).validate_json(body)

        match method, "/".join(rest):
            case "GET", "exists":
                return {"exists": backend.collection_exists(name)}
            case "GET", "":
                info = _plain(backend.get_collection(name))
                info["payload_schema"] = {
                    field: {"data_type": kind, "points": 0} for field, kind in self.indexes.items()
                }
                return info
            case "PUT", "":
                wanted = read(models.CreateCollection)
                return backend.create_collection(
                    name,
                    vectors_config=wanted.vectors,
                    sparse_vectors_config=wanted.sparse_vectors,
                    metadata=wanted.metadata if self.version >= "1.16" else None,  # older ones drop it
                )
            case "DELETE", "":
                return backend.delete_collection(name)
            case "PUT", "index":
                index = read(models.CreateFieldIndex)
                self.indexes[index.field_name] = index.field_schema
                return models.UpdateResult(operation_id=0, status=models.UpdateStatus.COMPLETED)
            case "PUT", path if path.startswith("vectors/"):
                return backend.create_vector_name(name, rest[1], read(models.VectorNameConfig))
            case "POST", "points/batch":
                return backend.batch_update_points(name, read(models.UpdateOperations).operations)
            case "POST", "points/payload":
                wanted = read(models.SetPayload)
                return backend.set_payload(name, wanted.payload, wanted.points)
            case "PUT", "points":
                return backend.upsert(name, read(models.PointsList).points)
            case "POST", "points":
                wanted = read(models.PointRequest)
                return backend.retrieve(
                    name, wanted.ids, with_payload=wanted.with_payload, with_vectors=wanted.with_vector
                )
            case "POST", "points/delete":
                return backend.delete(name, read(models.PointsSelector))
            case "POST", "points/count":
                wanted = read(models.CountRequest)
                return backend.count(name, wanted.filter, exact=wanted.exact)
            case "POST", "points/scroll":
                wanted = read(models.ScrollRequest)
                points, offset = backend.scroll(
                    name,
                    wanted.filter,
                    limit=wanted.limit,
                    offset=wanted.offset,
                    with_payload=wanted.with_payload,
                    with_vectors=wanted.with_vector,
                )
                return {"points": _plain(points), "next_page_offset": offset}
            case "POST", "points/query/batch":
                return backend.query_batch_points(name, read(models.QueryRequestBatch).searches)
            case _:
                raise LookupError(f"the REST double has no route {method} {path}")


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return [_plain(item) for item in value] if isinstance(value, list) else value
