"""After an erasure nobody can link the leaf in the log to its holder by what is kept.

Somebody takes everything: database files with their free pages and write-ahead log, objects,
tiles, log lines, metrics, later backups, even the vault; and has a dictionary with the true
record, name, number, title, file name and bytes in it. On PostgreSQL all rows, and every file
of the server. `docs/erasure.md` says what remains.
"""

import base64
import hashlib
import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import Engine as Connecting
from sqlalchemy import create_engine, select

from kernel.canonical import canonical_bytes
from kernel.clock import SystemClock
from kernel.errors import CodedError
from kernel.ids import IdKind, new_id
from ledger.leaves import blinded_leaf
from ledger.policy import parse_policy
from ledger.receipts import Evidence, verify_receipt
from materials_api.materials.erasure import ErasureState, erasure_of
from migrations.schema import metadata
from runtime.backup.restoring import Sources, restore
from runtime.demo import people
from runtime.settings import read_settings
from runtime.store import DATABASE, open_store
from storage.keyvault import FileKeyVault, WrappedKey
from tests.conftest import Played, mianjiao
from tests.engines import Engine
from tests.runtime.conftest import issued_anew, serving
from tests.runtime.edge import PDF, Window, until

pytestmark = [
    pytest.mark.both_engines,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("played"),
]

ROOT = Path(__file__).parent.parent.parent
REMAINS = 3  # which section of the page
TITLE, FILE = "绝密赡养协议甲乙丙", "绝密附件丁戊己.pdf"
CONTENT = PDF + b"% needle " + hashlib.sha256(b"needle").digest() * 40
CONTEXTS = {"ledger_entries": "entry_id", "objects": "object_key"}


@dataclass
class Scene:
    """What the holder and, before the erasure, a thief of the keys knew of one material."""

    folder: Path
    data: Path
    database: Connecting
    engine: Engine
    material: str = ""
    holder: str = ""
    entry: str = ""
    receipt: bytes = b""
    neighbour: str = ""
    leaves: set[int] = field(default_factory=set)
    secrets: dict[str, bytes] = field(default_factory=dict)
    logs: bytes = b""
    metrics: bytes = b""
    erased: dict[str, Any] = field(default_factory=dict)
    policy: bytes = b""

    def rows(self, table: str, **where: Any) -> list[dict[str, Any]]:
        query = select(metadata.tables[table])
        for column, value in where.items():
            query = query.where(metadata.tables[table].c[column] == value)
        with self.database.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    @property
    def record(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads(self.receipt)["record"]
        return record

    @property
    def salt(self) -> bytes:
        return base64.b64decode(json.loads(self.receipt)["salt"])

    def kept(self) -> dict[str, bytes]:
        """Everything that is left, by place; the earlier backup and the receipt are not of it."""
        found = {"log lines": self.logs, "metrics": self.metrics}
        for name in ("store", "later backup", "continued backup"):
            for path in sorted((self.folder / name).rglob("*")):
                if path.is_file():
                    found[str(path.relative_to(self.folder))] = path.read_bytes()
        found["dump of the rows"] = self.engine.content(self.data / DATABASE)
        return found


def spellings(secret: bytes) -> set[bytes]:
    """Raw, hex, base64 at every offset, and as text in JSON, URLs and Python."""
    found = {secret, secret.hex().encode(), secret.hex().upper().encode()}
    for lead in range(3):
        # What is the same whatever stands before and after.
        for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
            text = encode(bytes(lead) + secret)
            found.add(text[(0, 2, 3)[lead] + (lead > 0) : len(text) // 4 * 4 - 4])
    try:
        text = secret.decode()
    except UnicodeDecodeError:
        return found
    found |= {json.dumps(text)[1:-1].encode(), quote(text).encode(), repr(secret)[2:-1].encode()}
    return found | {text.encode("utf-16-le"), text.encode("gb18030")}


def places(kept: dict[str, bytes], secret: bytes) -> list[str]:
    forms = [form for form in spellings(secret) if len(form) >= 6]
    # A backup holds the same bytes once more: each is searched once.
    telling = {data for data in set(kept.values()) if any(form in data for form in forms)}
    return [name for name, data in kept.items() if data in telling]


def prepared(played: Played, engine: Engine, folder: Path) -> tuple[Path, dict[str, str]]:
    """The played store on this engine, and whose token is whose."""
    data = folder / "store"
    if engine.is_sqlite:
        return played.copy(data), dict(played.tokens)
    sources = Sources(folder / "played", played.data / "keys", played.data / "log", False)
    restore(data, sources, read_settings(), SystemClock(), lambda *_: None)
    with open_store(data, read_settings()) as store:
        return data, issued_anew(store, dict(played.tokens))


@pytest.fixture(scope="module")
def scene(
    played: Played, engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """A served store; one material of one holder is erased; backups before and after."""
    folder = tmp_path_factory.mktemp("erasure")
    with pytest.MonkeyPatch.context() as patched:
        if not engine.is_sqlite:
            # While the settings still name no server: the played store is on SQLite.
            mianjiao("backup", "--data", played.data, "-o", folder / "played")
            engine.place(folder / "store" / DATABASE, empty=True)
            for name, value in engine.environment(folder / "store" / DATABASE).items():
                patched.setenv(name, value)
        scene = erased(played, engine, folder)
        yield scene
        scene.database.dispose()


def erased(played: Played, engine: Engine, tmp_path: Path) -> Scene:
    data, tokens = prepared(played, engine, tmp_path)
    place = engine.place(data / DATABASE)
    url = f"sqlite:///file:{place}?mode=ro&uri=true" if isinstance(place, Path) else place
    connecting = create_engine(url)
    scene = Scene(tmp_path, data, connecting, engine)
    log = tmp_path / "log.txt"
    with serving(data, log, tokens, MIANJIAO_LOG_LEVEL="DEBUG") as served:
        window = Window(served)
        hand_in(scene, window)
        mianjiao("backup", "--data", data, "-o", tmp_path / "earlier backup")
        shutil.copytree(tmp_path / "earlier backup", tmp_path / "continued backup")
        know(scene)
        path = f"/v1/materials/{scene.material}/erase"
        assert window.send("POST", path, "elder").status_code in (200, 202)
        until(
            lambda: scene.rows("erasures", material_id=scene.material)[0]["sealed_at"] is not None
        )
        scene.erased = window.made("POST", path, "elder")
        # Life goes on: pages are used again, and the log is longer.
        hand_in(scene, window, neighbour=True)
        scene.metrics = window.send("GET", "/metrics").content
        mianjiao("backup", "--data", data, "-o", tmp_path / "later backup")
        mianjiao("backup", "--data", data, "-o", tmp_path / "continued backup")
    scene.logs = log.read_bytes()
    scene.policy = mianjiao("log", "policy", "--data", data).stdout.encode()
    return scene


def hand_in(scene: Scene, window: Window, *, neighbour: bool = False) -> None:
    """An old man hands in one file at home, looks at it, grants its use, fetches it."""
    opened = {"matter": people.ELDERLY, "applicant": people.ELDER.ref(), "channel": "pc"}
    case = window.made("POST", "/v1/cases", "elder", json=opened)["case_id"]
    upload = new_id(IdKind.UPLOAD)
    content = CONTENT[::-1] if neighbour else CONTENT
    content = PDF + content if neighbour else content
    window.made("PUT", f"/v1/uploads/{upload}", "elder", content=content)
    body = {
        "type": "other",
        "title": "另一份材料" if neighbour else TITLE,
        "files": [{"upload": upload, "name": "另一份.pdf" if neighbour else FILE}],
    }
    made = window.made(
        "POST",
        f"/v1/cases/{case}/materials",
        "elder",
        json=body,
        headers={"Idempotency-Key": f"key {neighbour}"},
    )
    material = made["material_id"]
    window.made("GET", f"/v1/materials/{material}", "elder")
    granted = {"purpose": "自用", "use": "once", "items": [material]}
    window.made("POST", "/v1/grants", "elder", json=granted)
    ticket = window.made("POST", f"/v1/materials/{material}/tickets", "elder", json={})["ticket"]
    window.send("GET", f"/v1/tickets/{ticket}", "elder")
    (row,) = scene.rows("materials", material_id=material)
    until(lambda: bool(_receipt(window, row["entry_id"])))
    receipt = _receipt(window, row["entry_id"])
    if neighbour:
        scene.neighbour = row["entry_id"]
        return
    scene.material, scene.entry, scene.receipt = material, row["entry_id"], receipt
    (party,) = scene.rows("material_parties", material_id=material)
    scene.holder = party["party_id"]


def _receipt(window: Window, entry: str) -> bytes:
    answer = window.send("GET", f"/v1/receipts/{entry}", "elder")
    return answer.content if answer.status_code == 200 else b""


def know(scene: Scene) -> None:
    """Read, with the vault, all there is to be found of the material while it is alive."""
    secrets = scene.secrets
    file = scene.record["files"][0]
    assert file["digests"]["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    secrets |= {
        "title": TITLE.encode(),
        "file name": FILE.encode(),
        "sha256": bytes.fromhex(file["digests"]["sha256"]),
        "sm3": bytes.fromhex(file["digests"]["sm3"]),
        "salt": scene.salt,
        "record": canonical_bytes(scene.record),
        "content": CONTENT[100:160],
    }
    vault = FileKeyVault.open(scene.data / "keys" / "vault.json")

    def keys(what: str, table: str, row: dict[str, Any]) -> None:
        wrapped = WrappedKey(row["key_epoch"], row["wrapped_key"])
        secrets[f"wrapped key of {what}"] = row["wrapped_key"]
        secrets[f"key of {what}"] = vault.unwrap(wrapped, row[CONTEXTS[table]].encode())

    for number, row in enumerate(scene.rows("ledger_entries", entity=scene.material)):
        keys(f"record {number}", "ledger_entries", row)
        secrets[f"ciphertext of record {number}"] = row["sealed"]
        scene.leaves.add(row["leaf_index"])
    for row in scene.rows("objects", claimed_by=scene.material):
        keys("the file", "objects", row)
        key = row["object_key"]
        secrets["ciphertext"] = (scene.data / "objects" / key[:2] / key).read_bytes()[:120]
    assert "key of the file" in secrets
    assert "key of record 0" in secrets


def test_the_search_finds_a_secret_however_it_is_spelled() -> None:
    secret = "绝密赡养协议甲乙丙".encode()
    spelled = [
        secret,
        secret.hex().encode(),
        b"x" + base64.b64encode(b"a" + secret + b"bc"),
        base64.urlsafe_b64encode(b"ab" + secret),
        json.dumps({"a": secret.decode()}).encode(),
        quote(secret).encode(),
    ]
    kept = {str(number): b"before " + one + b" after" for number, one in enumerate(spelled)}
    assert places(kept, secret) == list(kept)
    assert places(kept, secret[::-1]) == []


def test_nothing_that_is_kept_says_what_the_leaf_was(scene: Scene) -> None:
    told = "done" if scene.engine.is_sqlite else "pending"
    assert scene.erased["erasure"] == told
    kept = scene.kept()
    # The needles are good ones: before, they were there.
    earlier = {
        str(path): path.read_bytes()
        for path in (scene.folder / "earlier backup").rglob("*")
        if path.is_file()
    }
    for what in ("wrapped key of record 0", "ciphertext of record 0", "wrapped key of the file"):
        assert places(earlier, scene.secrets[what]), what
    left = {what: places(kept, secret) for what, secret in scene.secrets.items()}
    assert {what: where for what, where in left.items() if where} == {}
    # Nor does anything say who it was: the holder's other things are sealed as ever.
    for secret in (people.ELDER.name.encode(), people.ELDER.code.encode()):
        assert places(kept, secret) == []


def test_a_dictionary_with_the_true_record_does_not_tell_which_leaf_it_is(scene: Scene) -> None:
    """Without the salt the record fits every leaf as well as none. Every 32 bytes that lie
    anywhere in the rows are tried for it."""
    record = canonical_bytes(scene.record)
    leaves = {row["leaf"]: row["leaf_index"] for row in scene.rows("ledger_entries")}
    true = blinded_leaf(scene.salt, record)
    assert leaves[true] in scene.leaves  # with the salt, which the holder keeps, it does tell
    assert len(leaves) > 100
    wanted = {leaf: index for leaf, index in leaves.items() if index in scene.leaves}
    tried = 0
    for data in rows_of(scene):
        for at in range(len(data) - 31):
            tried += 1
            assert blinded_leaf(data[at : at + 32], record) not in wanted
    assert tried > 100_000


def rows_of(scene: Scene) -> list[bytes]:
    """Every value of every row that might hold a salt: as bytes, and what text decodes to."""
    found = []
    for table in metadata.tables:
        for row in scene.rows(table):
            for value in row.values():
                if isinstance(value, bytes) and len(value) >= 32 and len(value) < 4096:
                    found.append(value)
    return found


def test_every_other_receipt_verifies_and_so_does_the_one_that_the_holder_kept(
    scene: Scene,
) -> None:
    policy = parse_policy(scene.policy)
    verified = refused = 0
    with open_store(scene.data, read_settings()) as store, store.database.read() as tx:
        for row in scene.rows("ledger_entries", public=False):
            if row["leaf_index"] in scene.leaves or row["erased_at"] is not None:
                with pytest.raises(CodedError) as caught:
                    store.ledger.evidence.receipt(tx, row["entry_id"])
                assert caught.value.code == "record_erased"
                refused += 1
                continue
            outcome = verify_receipt(store.ledger.evidence.receipt(tx, row["entry_id"]), policy)
            assert isinstance(outcome, Evidence), outcome
            assert outcome.index == row["leaf_index"]
            verified += 1
        assert verified > 100
        assert refused == 2  # registered, erased
        # It is the holder's own: what they show is theirs to show.
        own = verify_receipt(scene.receipt, policy)
        assert isinstance(own, Evidence)
        assert own.record["title"] == TITLE
        size = store.ledger.checkpoint().size
        ended = [json.loads(entry) for _, entry in store.ledger.reader.entries(size)]
    told = [
        one["body"] for one in ended
        if one.get("kind") == "ended" and one["body"]["reason"] == "erased"
    ]  # fmt: skip
    (one,) = told
    assert scene.leaves < set(one["indexes"])  # and the record that it was asked for


def test_what_remains_in_the_rows_is_what_the_page_says(scene: Scene) -> None:
    """Random ids, states, times. A column that starts to hold one of them shows here."""
    entries = {row["entry_id"] for row in scene.rows("ledger_entries", entity=scene.material)}
    found = set()
    for table in metadata.tables:
        for row in scene.rows(table):
            found |= {
                f"{table}.{column}"
                for column, value in row.items()
                if any(one in str(value) for one in {scene.material, *entries})
            }
    page = (ROOT / "docs" / "erasure.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`([a-z_]+\.[a-z_]+)`", page.split("\n## ")[REMAINS]))
    assert found == told


def test_times_alone_lead_to_the_leaf_so_cutting_ids_would_not_help(scene: Scene) -> None:
    """Why the page says that the link stays: nobody needs an id to follow it."""
    (material,) = scene.rows("materials", material_id=scene.material)
    found = [
        row["leaf_index"]
        for row in scene.rows("ledger_entries", public=False)
        if row["at"] == material["registered_at"]
    ]
    assert len(found) == 1
    assert found[0] in scene.leaves


def test_only_the_vault_leads_from_the_random_id_to_a_name(scene: Scene) -> None:
    """Without it the row of the holder says nothing: its look-up is a keyed digest."""
    (party,) = scene.rows("parties", party_id=scene.holder)
    (entry,) = scene.rows("ledger_entries", entry_id=party["entry_id"])
    known = f"{people.ELDER.type}:{people.ELDER.code}".encode()
    guesses = {
        hash_(prefix + known).digest()
        for hash_ in (hashlib.sha256, hashlib.sha512, hashlib.md5)
        for prefix in (b"", b"party", b"party\0")
    }
    assert party["lookup"] not in {one[:32] for one in guesses}
    vault = FileKeyVault.open(scene.data / "keys" / "vault.json")
    assert party["lookup"] == vault.mac("party", known)
    wrapped = WrappedKey(entry["key_epoch"], entry["wrapped_key"])
    assert len(vault.unwrap(wrapped, entry["entry_id"].encode())) == 32
    strangers = FileKeyVault.create(scene.folder / "another vault.json")
    with pytest.raises(CodedError):
        strangers.unwrap(wrapped, entry["entry_id"].encode())


def test_an_earlier_backup_opens_it_until_the_keys_are_rotated(scene: Scene) -> None:
    """The last: it ends the epoch."""
    vault = scene.data / "keys" / "vault.json"
    (rows,) = (scene.folder / "earlier backup").glob("rows-*.sqlite3")
    backup = sqlite3.connect(rows)
    query = "SELECT key_epoch, wrapped_key FROM ledger_entries WHERE entry_id = ?"
    epoch, wrapped = backup.execute(query, (scene.entry,)).fetchone()
    backup.close()
    old = WrappedKey(epoch, wrapped)
    key = FileKeyVault.open(vault).unwrap(old, scene.entry.encode())
    assert key == scene.secrets["key of record 0"]
    assert scene.erased["older_copies"] == "readable"
    mianjiao("keys", "rotate", "--data", scene.data)
    rotated = FileKeyVault.open(vault)
    with pytest.raises(CodedError):
        rotated.unwrap(old, scene.entry.encode())
    # What may lie in a server's files is no more than what the backup holds.
    assert wrapped == scene.secrets["wrapped key of record 0"]
    with open_store(scene.data, read_settings()) as store, store.database.read() as tx:
        told = erasure_of(store.materials, tx, scene.material)
    assert (told.state, told.closed) == (ErasureState.DONE, True)


# At the end, so that the scene of each engine is played once.
@pytest.mark.postgresql_only
def test_the_servers_own_files_hold_what_only_the_old_keys_open(scene: Scene) -> None:
    """Old versions of rows, and the write-ahead log: sealed bytes and wrapped keys, no more.
    That is why the erasure is not done yet."""
    kept = scene.engine.server_files(scene.data / DATABASE)
    if kept is None:
        pytest.skip("the server of DATABASE_URL: its files are not ours to read")
    left = {what: places(kept, secret) for what, secret in scene.secrets.items()}
    found = {what for what, where in left.items() if where}
    sealed = {what for what in scene.secrets if what.startswith(("wrapped", "ciphertext of rec"))}
    assert found <= sealed
    # Else nothing would be left to wait for. Not all of it: the server may tidy a page, and
    # what stands across two pages of its log is not found as one.
    assert found
    for secret in (people.ELDER.name.encode(), people.ELDER.code.encode()):
        assert places(kept, secret) == []
