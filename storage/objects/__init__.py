"""Stored bytes: the port of object stores, the file system store, and sealed objects."""

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
