"""Stored bytes: the port of object stores, the store in a folder, and sealed objects.

`storage.objects.bucket_store` is imported by who uses it: the S3 package is slow to load.
"""

from storage.objects.filesystem import FilesystemStore
from storage.objects.hashing import Digests
from storage.objects.port import ObjectStore, ObjectWriter
from storage.objects.sealed import SealedObjects
from storage.objects.sealed_writer import ObjectRef, SealedWriter, StoredObject

__all__ = [
    "Digests",
    "FilesystemStore",
    "ObjectRef",
    "ObjectStore",
    "ObjectWriter",
    "SealedObjects",
    "SealedWriter",
    "StoredObject",
]
