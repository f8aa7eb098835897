import json
import os
from pathlib import Path

import pytest

from storage.errors import KeyMissing, ObjectCorrupt, VaultExists, VaultInvalid, VaultMissing
from storage.keyvault import FileKeyVault, WrappedKey

KEY = bytes(range(32))


def test_a_wrapped_key_opens_again_after_a_restart(tmp_path: Path) -> None:
    wrapped = FileKeyVault.create(tmp_path / "v.json").wrap(KEY, b"obj")
    assert FileKeyVault.open(tmp_path / "v.json").unwrap(wrapped, b"obj") == KEY
    assert len(wrapped.blob) == 12 + 32 + 16


def test_the_same_key_never_wraps_to_the_same_bytes(vault: FileKeyVault) -> None:
    assert vault.wrap(KEY, b"obj") != vault.wrap(KEY, b"obj")


def test_many_keys_are_wrapped_each_for_its_own_place(vault: FileKeyVault) -> None:
    keys = [bytes([number]) * 32 for number in range(5)]
    places = [b"obj %d" % number for number in range(5)]
    wrapped = vault.wrap_many(keys, places)
    assert len({one.blob[:12] for one in wrapped}) == 5
    for key, place, one in zip(keys, places, wrapped, strict=True):
        assert vault.unwrap(one, place) == key
    assert vault.wrap_many([], []) == []
    with pytest.raises(ValueError, match="argument"):
        vault.wrap_many(keys, places[:-1])


def test_a_wrap_moved_to_another_place_does_not_open(vault: FileKeyVault) -> None:
    with pytest.raises(ObjectCorrupt):
        vault.unwrap(vault.wrap(KEY, b"obj one"), b"obj two")


def test_every_flipped_or_missing_byte_of_a_wrap_is_refused(vault: FileKeyVault) -> None:
    wrapped = vault.wrap(KEY, b"obj")
    for at in range(len(wrapped.blob)):
        flipped = bytearray(wrapped.blob)
        flipped[at] ^= 1
        with pytest.raises(ObjectCorrupt):
            vault.unwrap(WrappedKey(wrapped.epoch, bytes(flipped)), b"obj")
        with pytest.raises(ObjectCorrupt):
            vault.unwrap(WrappedKey(wrapped.epoch, wrapped.blob[:at]), b"obj")


def test_an_unknown_epoch_is_a_missing_key(vault: FileKeyVault) -> None:
    wrapped = vault.wrap(KEY, b"obj")
    with pytest.raises(KeyMissing):
        vault.unwrap(WrappedKey(wrapped.epoch + 1, wrapped.blob), b"obj")


def test_older_epochs_stay_readable_and_new_wraps_use_the_current_one() -> None:
    keys = {1: bytes(32), 2: bytes([1]) * 32}
    old = FileKeyVault({1: keys[1]}, 1, bytes(32)).wrap(KEY, b"obj")
    vault = FileKeyVault(keys, 2, bytes(32))
    assert vault.unwrap(old, b"obj") == KEY
    assert vault.wrap(KEY, b"obj").epoch == vault.current_epoch == 2


def test_the_mac_is_stable_across_epochs_and_separate_per_purpose() -> None:
    one = FileKeyVault({1: bytes(32)}, 1, bytes(32))
    two = FileKeyVault({1: bytes(32), 2: bytes([1]) * 32}, 2, bytes(32))
    assert one.mac("party", b"data") == two.mac("party", b"data")
    assert len(one.mac("party", b"data")) == 32
    assert one.mac("party", b"data") != one.mac("other", b"data")
    assert one.mac("party", b"data") != one.mac("party", b"datb")
    other = FileKeyVault({1: bytes(32)}, 1, bytes([1]) * 32)
    assert one.mac("party", b"data") != other.mac("party", b"data")


def test_a_missing_vault_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(VaultMissing):
        FileKeyVault.open(tmp_path / "v.json")
    assert not list(tmp_path.iterdir())


def test_a_vault_is_never_overwritten(tmp_path: Path) -> None:
    FileKeyVault.create(tmp_path / "v.json")
    before = (tmp_path / "v.json").read_bytes()
    with pytest.raises(VaultExists):
        FileKeyVault.create(tmp_path / "v.json")
    assert (tmp_path / "v.json").read_bytes() == before


@pytest.mark.parametrize("umask", [0o000, 0o277])
def test_a_new_vault_is_readable_by_its_owner_alone_whatever_the_umask(
    tmp_path: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        FileKeyVault.create(tmp_path / "v.json")
    finally:
        os.umask(before)
    assert (tmp_path / "v.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_loose_permissions_are_refused(tmp_path: Path, mode: int) -> None:
    FileKeyVault.create(tmp_path / "v.json")
    (tmp_path / "v.json").chmod(mode)
    with pytest.raises(VaultInvalid) as caught:
        FileKeyVault.open(tmp_path / "v.json")
    assert "0600" in str(caught.value)


def test_a_link_in_place_of_the_vault_is_refused(tmp_path: Path) -> None:
    FileKeyVault.create(tmp_path / "v.json")
    (tmp_path / "link.json").symlink_to(tmp_path / "v.json")
    with pytest.raises(VaultInvalid):
        FileKeyVault.open(tmp_path / "link.json")


def test_every_byte_flip_of_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.json"
    FileKeyVault.create(path)
    whole = path.read_bytes()
    for at in range(len(whole)):
        flipped = bytearray(whole)
        flipped[at] ^= 1
        path.write_bytes(flipped)
        with pytest.raises(VaultInvalid):
            FileKeyVault.open(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"sha256":1}', b"null"])
def test_damaged_content_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "v.json"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(VaultInvalid):
        FileKeyVault.open(path)


def test_no_error_text_quotes_key_material(tmp_path: Path) -> None:
    path = tmp_path / "v.json"
    FileKeyVault.create(path)
    content = json.loads(path.read_bytes())
    secret = content["keys"]["1"]
    path.write_bytes(path.read_bytes().replace(secret.encode(), secret[:-4].encode() + b"!!!!"))
    with pytest.raises(VaultInvalid) as caught:
        FileKeyVault.open(path)
    assert secret[:8] not in str(caught.value)
    assert caught.value.__cause__ is None
