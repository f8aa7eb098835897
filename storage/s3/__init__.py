"""Buckets of an S3 server (MinIO, Ceph): one thin adapter over the `minio` package."""

from storage.s3.bucket import Bucket
from storage.s3.self_test import self_test
from storage.s3.settings import S3Settings

__all__ = ["Bucket", "S3Settings", "self_test"]
