"""Where content and log lie: in the data folder, or in a bucket that the settings name.

The rows and the keys stay where they are: what is in a bucket is never believed, and
without the keys it tells nothing.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ledger.layout import log_path, stops_store
from ledger.tilestore import FolderShards, Shards
from runtime.errors import BucketTaken, SettingInvalid
from runtime.settings import Settings, variable
from storage.objects import FilesystemStore, ObjectStore

if TYPE_CHECKING:
    from storage.s3 import S3Settings

OBJECTS = "objects"
LOG = "log"
STOPS = "stops"


class Place(Protocol):
    """The object store, the notes of stops and the shards of one store, opened together."""

    objects: ObjectStore
    stops: ObjectStore
    shards: Shards
    folders: Mapping[str, Path]
    """Folders whose disks must not run full, by name."""

    def prove(self, at: datetime) -> None:
        """Before anything is served: the refusal of a place that does not keep what
        this program relies on."""
        ...

    def close(self) -> None: ...


class FolderPlace:
    """`objects/`, `stops/` and `log/` in the data folder."""

    def __init__(self, data: Path, *, create: bool = False) -> None:
        self.objects: ObjectStore = FilesystemStore(data / OBJECTS, create=create)
        self.stops: ObjectStore = stops_store(data)
        self.shards: Shards = FolderShards(log_path(data))
        self.folders: Mapping[str, Path] = {"objects": data / OBJECTS, "log": log_path(data)}

    def prove(self, at: datetime) -> None:
        """A folder promises nothing that could be tried: see `FilesystemStore.retain`."""

    def close(self) -> None:
        """Nothing is open."""


class BucketPlace:
    """`objects/`, `stops/` and `log/` in a bucket with versions and object lock."""

    def __init__(self, settings: "S3Settings", *, create: bool = False) -> None:
        """The bucket is there, keeps versions and has object lock: else the error that
        says so. With `create` it is made where it is missing."""
        # Only here: the package that speaks to the server is slow to load.
        from ledger.bucket_tiles import BucketShards
        from storage.objects.bucket_store import BucketStore
        from storage.s3 import Bucket
        from storage.s3.errors import BucketMissing

        self.bucket = Bucket(settings)
        try:
            try:
                self.bucket.check()
            except BucketMissing:
                if not create:
                    raise
                self.bucket.create()
                self.bucket.check()
        except BaseException:
            self.bucket.close()
            raise
        self.objects: ObjectStore = BucketStore(self.bucket)
        self.stops: ObjectStore = BucketStore(self.bucket, f"{STOPS}/")
        self.shards: Shards = BucketShards(self.bucket)
        self.folders: Mapping[str, Path] = {}

    def require_empty(self) -> None:
        """`BucketTaken` if there is content or a log: another store's, or of a store
        whose rows and keys are elsewhere."""
        for prefix in (f"{OBJECTS}/", f"{STOPS}/", f"{LOG}/"):
            if any(True for _ in self.bucket.versions(prefix)):
                raise BucketTaken(bucket=self.bucket.name)

    def prove(self, at: datetime) -> None:
        from storage.s3 import self_test

        self_test(self.bucket, at)

    def close(self) -> None:
        self.bucket.close()


def open_place(data: Path, settings: Settings) -> Place:
    """What the settings name; it must be there. Makes nothing."""
    bucket = bucket_settings(settings)
    return FolderPlace(data) if bucket is None else BucketPlace(bucket)


def bucket_settings(settings: Settings) -> "S3Settings | None":
    """None: no bucket is named. `SettingInvalid` for what has another form."""
    access, secret = settings.s3_access_key, settings.s3_secret_key
    endpoint, bucket = settings.s3_endpoint, settings.s3_bucket
    if endpoint is None or bucket is None or access is None or secret is None:
        return None
    from storage.s3 import S3Settings
    from storage.s3.errors import S3SettingInvalid

    try:
        return S3Settings(
            endpoint=endpoint,
            bucket=bucket,
            access_key=access.get_secret_value(),
            secret_key=secret.get_secret_value(),
            secure=settings.s3_secure,
            region=settings.s3_region,
            ca_file=settings.s3_ca_file,
            conditional_put=settings.s3_conditional_put,
        )
    except S3SettingInvalid as error:
        raise SettingInvalid(
            name=variable(f"s3_{error.details['setting']}"),
            rule=f"应为{error.details['form']}",
            rule_en=f"it must be {error.details['form_en']}",
        ) from None
