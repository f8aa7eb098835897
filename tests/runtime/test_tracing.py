"""Traces: a real collector gets spans over OTLP, and without the setting nothing is imported."""

import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from runtime.demo import people
from runtime.settings import Settings
from tests.runtime.conftest import serving
from tests.runtime.edge import NAMES, Window, until

if TYPE_CHECKING:
    from tests.conftest import Played

ROOT = Path(__file__).parent.parent.parent
TRACE = "0af7651916cd43dd8448eb211c80319c"


class Collector:
    """What an OpenTelemetry collector receives."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.bodies: list[bytes] = []

    def spans(self) -> list[Any]:
        found = []
        for body in list(self.bodies):
            request = ExportTraceServiceRequest.FromString(body)
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    found += list(scope.spans)
        return found

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans() if span.name == name]


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            collector.bodies.append(body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_port}/v1/traces")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield collector
        server.shutdown()
        thread.join()


def attributes(span: Any) -> dict[str, Any]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


@pytest.mark.xdist_group("played")
def test_a_collector_gets_spans_that_name_nobody(played: "Played", tmp_path: Path) -> None:
    data = played.copy(tmp_path / "store")
    with collecting() as collector:
        with serving(
            data,
            tmp_path / "log.txt",
            dict(played.tokens),
            MIANJIAO_TRACES_URL=collector.url,
            OTEL_BSP_SCHEDULE_DELAY="100",
        ) as served:
            window = Window(served)
            case = window.opened()
            window.uploaded(b"%PDF-1.4\n%%EOF\n")
            window.send("GET", f"/v1/cases/{case}")
            window.send("GET", f"/v1/cases?number={people.LEGAL_REPRESENTATIVE.name}")
            window.http.get(
                f"/v1/cases/{people.ELDER.code}",
                headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "baggage": "who=x"},
            )
            until(lambda: len(collector.named("GET /v1/cases/{case_id}")) >= 2)
        spans = collector.spans()
        opened = collector.named("POST /v1/cases")[0]
        assert attributes(opened) == {
            "http.request.method": "POST",
            "http.route": "/v1/cases",
            "http.response.status_code": 201,
        }
        followed = next(span for span in spans if span.trace_id.hex() == TRACE)
        assert followed.parent_span_id.hex() == "b7ad6b7169203331"
        assert attributes(followed)["error.type"] == "credential_missing"
        commits = collector.named("database.commit")
        assert all(attributes(span)["mianjiao.units"] >= 1 for span in commits)
        assert commits
        assert collector.named("log.round")
        assert collector.named("object.put")
        sent = b"".join(collector.bodies)
        for secret in (*NAMES, people.ELDER.code, people.COMPANY.code, case, "mj_"):
            assert secret.encode() not in sent, secret
        lines = [json.loads(line) for line in served.log.read_text().splitlines()]
        traced = {line["trace"] for line in lines if line["event"] == "request"}
        assert TRACE in traced
        assert opened.trace_id.hex() in traced


def test_the_frameworks_own_telemetry_cannot_be_turned_on_from_outside(
    tmp_path: Path, played: "Played"
) -> None:
    data = played.copy(tmp_path / "store")
    with collecting() as collector:
        base = collector.url.removesuffix("/v1/traces")
        with serving(
            data,
            tmp_path / "log.txt",
            dict(played.tokens),
            FASTAPI_OTEL_AUTO_CONFIGURE="true",
            OTEL_EXPORTER_OTLP_ENDPOINT=base,
            OTEL_TRACES_EXPORTER="otlp",
            OTEL_LOGS_EXPORTER="otlp",
            OTEL_METRICS_EXPORTER="otlp",
            OTEL_BSP_SCHEDULE_DELAY="50",
        ) as served:
            Window(served).send("GET", f"/v1/cases?number={people.LEGAL_REPRESENTATIVE.name}")
        assert collector.bodies == []


def test_without_the_setting_nothing_of_it_is_imported(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from runtime.store import create_store, open_store\n"
        "from runtime.app import build_app\n"
        f"data = Path({str(tmp_path / 'store')!r})\n"
        "create_store(data, 'test.example')\n"
        "with open_store(data) as store:\n"
        "    store.start()\n"
        "    build_app(store, store.settings)\n"
        # The interface alone is looked for by the web framework where it is installed.
        "heavy = ('opentelemetry.sdk', 'opentelemetry.exporter', 'opentelemetry.proto')\n"
        "print([name for name in sys.modules if name.startswith(heavy)])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_without_the_extra_the_setting_is_refused_in_one_line(tmp_path: Path) -> None:
    # As on a machine where only the locked packages of `make run` are installed.
    program = (
        "import sys\n"
        "sys.modules['opentelemetry.exporter.otlp.proto.http.trace_exporter'] = None\n"
        "from runtime.cli import run\n"
        "data = sys.argv[1]\n"
        "run(['init', '--data', data])\n"
        "import os\n"
        "os.environ['MIANJIAO_TRACES_URL'] = 'http://127.0.0.1:1/v1/traces'\n"
        "sys.exit(run(['serve', '--data', data, '--port', '0']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "store")],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "mianjiao[otel]" in line
    assert line.endswith("[traces_unavailable]")


def test_a_collector_that_is_down_holds_nobody_up(tmp_path: Path, played: "Played") -> None:
    data = played.copy(tmp_path / "store")
    with serving(
        data,
        tmp_path / "log.txt",
        dict(played.tokens),
        MIANJIAO_TRACES_URL="http://127.0.0.1:9/v1/traces",
        OTEL_BSP_SCHEDULE_DELAY="50",
    ) as served:
        with httpx2.Client(base_url=served.url, timeout=5) as http:
            for _ in range(20):
                assert http.get("/health/ready").status_code == 200
        text = served.log.read_text()
    assert "Traceback" not in text
    assert all(line.startswith("{") for line in text.splitlines())


def test_the_ratio_decides_about_new_traces_alone() -> None:
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from runtime.tracing import Tracing

    assert Settings(traces_ratio=0).traces_ratio == 0
    kept = InMemorySpanExporter()
    tracing = Tracing(SimpleSpanProcessor(kept), ratio=0)
    tracing.begin([]).end("GET", "/", 200, None)
    assert kept.get_finished_spans() == ()
    sampled = f"00-{TRACE}-b7ad6b7169203331-01".encode()
    tracing.begin([(b"traceparent", sampled)]).end("GET", "/", 200, None)
    assert [span.name for span in kept.get_finished_spans()] == ["GET /"]
