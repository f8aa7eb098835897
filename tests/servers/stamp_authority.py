"""A real time-stamp authority on loopback: `openssl ts` behind HTTP, with keys of its own."""

import itertools
import os
import shutil
import subprocess
import threading
from collections.abc import Iterable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

CONFIG = """
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[tsa]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
[ts]
default_tsa = made
[made]
serial = serial
signer_cert = tsa.pem
signer_key = tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
ess_cert_id_alg = sha256
"""


class StampAuthority:
    """Root, intermediate and its own certificate. `mode` says how it answers:
    good, replay (of its first answer), other (stamps something else), error, junk, hang,
    trickle (a byte of a good answer now and then), trickle headers (without end)."""

    def __init__(self, folder: Path, *, days: int = 3650) -> None:
        if shutil.which("openssl") is None:
            assert os.environ.get("CI") != "true", "CI=true, and there is no openssl"
            pytest.skip("no openssl")
        folder.mkdir(parents=True)
        self.folder = folder
        self.mode = "good"
        self.asked = 0
        self._first: bytes | None = None
        (folder / "openssl.cnf").write_text(CONFIG)
        (folder / "serial").write_text("01\n")
        self._certificate("root", None, "ca", 7300)
        self._certificate("between", "root", "ca", 7000)
        self._certificate("tsa", "between", "tsa", days)
        self._resume = threading.Event()
        authority = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                query = self.rfile.read(int(self.headers["Content-Length"]))
                with suppress(ConnectionError):
                    authority._answer(self, query)

            def log_message(self, *_arguments: object) -> None:
                pass

        self._handler = Handler
        self._listen(0)

    def _listen(self, port: int) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True).start()

    def go_down(self) -> None:
        """Nobody listens at its address any more."""
        self._server.shutdown()
        self._server.server_close()

    def come_back(self) -> None:
        self._listen(self._server.server_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/"

    @property
    def roots(self) -> bytes:
        return (self.folder / "root.pem").read_bytes()

    @property
    def between(self) -> bytes:
        return (self.folder / "between.pem").read_bytes()

    def reply(self, query: bytes) -> bytes:
        """What `openssl ts` answers, whatever the mode."""
        (self.folder / "query").write_bytes(query)
        self._openssl("ts", "-reply", "-config", "openssl.cnf", "-section", "made",
                      "-queryfile", "query", "-out", "reply")  # fmt: skip
        return (self.folder / "reply").read_bytes()

    def stamp(self, data: bytes) -> bytes:
        """A stamp over `data`, asked for by `openssl ts` itself."""
        (self.folder / "data").write_bytes(data)
        self._openssl("ts", "-query", "-data", "data", "-sha256", "-cert", "-out", "asked")
        return self.reply((self.folder / "asked").read_bytes())

    def accepts(self, token: bytes, data: bytes) -> bool:
        """Whether `openssl ts -verify` does, under the root and the intermediate."""
        (self.folder / "token").write_bytes(token)
        (self.folder / "checked").write_bytes(data)
        done = subprocess.run(
            [
                *("openssl", "ts", "-verify", "-data", "checked", "-in", "token"),
                *("-CAfile", "root.pem", "-untrusted", "between.pem"),
            ],
            cwd=self.folder,
            capture_output=True,
        )
        return done.returncode == 0

    def renew_certificate(self, days: int) -> None:
        self._certificate("tsa", "between", "tsa", days)

    def say_accuracy(self, seconds: int) -> None:
        """From now on its times may be off by that much."""
        path = self.folder / "openssl.cnf"
        path.write_text(CONFIG.replace("accuracy = secs:1", f"accuracy = secs:{seconds}"))

    def close(self) -> None:
        self._resume.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler, query: bytes) -> None:
        self.asked += 1
        if self.mode == "hang":
            self._resume.wait(30)
            return
        if self.mode == "error":
            handler.send_error(500)
            return
        body = b"junk" if self.mode == "junk" else self.reply(query)
        if self.mode == "other":
            body = self.stamp(b"something else")
        if self._first is None:
            self._first = body
        if self.mode == "replay":
            body = self._first
        handler.send_response(200)
        handler.send_header("Content-Type", "application/timestamp-reply")
        if self.mode == "trickle headers":
            handler.flush_headers()
            self._trickle(handler, itertools.repeat(b"X-More: 1\r\n"))
            return
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if self.mode == "trickle":
            self._trickle(handler, (bytes([one]) for one in body))
            return
        handler.wfile.write(body)

    def _trickle(self, handler: BaseHTTPRequestHandler, parts: Iterable[bytes]) -> None:
        """No silence is long enough to be a time-out; the whole would take minutes."""
        for part in parts:
            if self._resume.wait(0.1):
                return
            handler.wfile.write(part)

    def _certificate(self, name: str, issuer: str | None, kind: str, days: int) -> None:
        self._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
        subject = f"/O={self.folder.name}/CN={name}"
        self._openssl("req", "-new", "-key", f"{name}.key", "-subj", subject,
                      "-out", f"{name}.csr")  # fmt: skip
        signed = (
            ["-signkey", "root.key"]
            if issuer is None
            else ["-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key", "-CAcreateserial"]
        )
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-days", str(days), *signed,
                      "-extfile", "openssl.cnf", "-extensions", kind,
                      "-out", f"{name}.pem")  # fmt: skip

    def _openssl(self, *arguments: str) -> None:
        done = subprocess.run(["openssl", *arguments], cwd=self.folder, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
