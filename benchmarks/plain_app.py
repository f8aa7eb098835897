"""The plain application that the product is measured against: bytes into the bucket, one
row into the database, and nothing else. `uvicorn benchmarks.plain_app:app`."""

import io
import os
import uuid
from pathlib import Path

from anyio import to_thread
from fastapi import FastAPI, Request, Response
from minio import Minio
from sqlalchemy import create_engine, text

_engine = create_engine(os.environ["PLAIN_DATABASE_URL"], pool_size=16)
_bucket = os.environ["PLAIN_BUCKET"]
_minio = Minio(
    os.environ["PLAIN_ENDPOINT"],
    Path(os.environ["PLAIN_ACCESS_KEY_FILE"]).read_text(encoding="utf-8"),
    Path(os.environ["PLAIN_SECRET_KEY_FILE"]).read_text(encoding="utf-8"),
    secure=False,
)
_INSERT = text("INSERT INTO plain (id, size) VALUES (:id, :size)")

app = FastAPI()


@app.post("/items", status_code=201)
async def add(request: Request) -> Response:
    data = await request.body()
    await to_thread.run_sync(_keep, data)
    return Response(status_code=201)


def _keep(data: bytes) -> None:
    key = uuid.uuid4().hex
    _minio.put_object(_bucket, key, io.BytesIO(data), len(data))
    with _engine.begin() as connection:
        connection.execute(_INSERT, {"id": key, "size": len(data)})
