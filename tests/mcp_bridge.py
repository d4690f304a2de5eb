"""Reach servers of the Model Context Protocol that speak over stdio by HTTP: the conformance suite knows HTTP alone."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests import forked

_SESSION = "Mcp-Session-Id"


@contextmanager
def serve_processes(words: Sequence[str], environment: Mapping[str, str], loads: str) -> Iterator[str]:
    """Run a forked process for each session, and pass on messages as they are; gives the address.

    An answer is the next line that the process writes: a server that asks its client nothing writes no others.
    """
    sessions: dict[str, forked.Popen] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            message = json.loads(text)
            name = self.headers.get(_SESSION) or uuid.uuid4().hex
            if name not in sessions:
                sessions[name] = forked.Popen(
                    words, env=environment, stdin=forked.PIPE, stdout=forked.PIPE, loads=loads
                )
            process = sessions[name]
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()
            body = process.stdout.readline().encode() if "id" in message else b""
            self.send_response(200 if body else 202)
            self.send_header(_SESSION, name)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.send_error(405)  # no stream of the server's own messages

        def do_DELETE(self) -> None:
            self.send_error(405)

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/mcp"
        finally:
            server.shutdown()
            thread.join()
            for process in sessions.values():
                with process:
                    assert process.stdin is not None
                    process.stdin.close()
                    assert process.wait(300) == 0
