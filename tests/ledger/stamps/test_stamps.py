"""Time stamps by a real authority (`openssl ts`): kept, verified by openssl too, renewed."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kernel.canonical import parse_record
from kernel.errors import CodedError
from ledger.anchor_checks import AnchorState
from ledger.anchoring import rows
from ledger.anchors import stamp_parts
from ledger.demands import Demands, StampTrust
from ledger.receipts import Evidence, Failure, verify_receipt
from ledger.stamps.authorities import Authority, load_authorities
from ledger.stamps.errors import (
    AuthoritiesInvalid,
    AuthorityUnavailable,
    StampInvalid,
    StampMalformed,
)
from ledger.stamps.stamper import Stamper
from ledger.stamps.verifying import verify_stamp, verify_stamps
from tests.ledger.conftest import Store
from tests.servers.stamp_authority import StampAuthority


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., StampAuthority]]:
    made: list[StampAuthority] = []

    def begin(name: str = "authority", **options: int) -> StampAuthority:
        made.append(StampAuthority(tmp_path / name, **options))
        return made[-1]

    yield begin
    for one in made:
        one.close()


def der(pem: bytes) -> tuple[bytes, ...]:
    return tuple(one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(pem))


def known(authority: StampAuthority) -> Authority:
    return Authority(authority.folder.name, authority.url, authority.roots, der(authority.between))


def stamper(store: Store, authority: StampAuthority, seconds: float = 10) -> Stamper:
    return Stamper(
        store.ledger,
        known(authority),
        interval=60,
        renew_before=timedelta(days=30),
        seconds=seconds,
    )


def step(store: Store, made: Stamper, seconds: float = 61) -> None:
    store.clock.set(store.clock.now() + timedelta(seconds=seconds))
    made.step(store.clock.now())


def kept(store: Store, name: str = "authority") -> list[rows.KeptAnchor]:
    with store.database.read() as tx:
        return rows.kept_of(tx, rows.STAMP_KIND, name, rows.FINAL)


def tokens(one: rows.KeptAnchor) -> tuple[bytes, ...]:
    return stamp_parts(parse_record(one.evidence))[0]


def test_a_checkpoint_is_stamped_kept_and_accepted_by_openssl(
    store: Store, start: Callable[..., StampAuthority]
) -> None:
    authority = start()
    made = stamper(store, authority)
    store.record_many(3)
    store.sequence()
    step(store, made)
    (one,) = kept(store)
    assert one.size == store.ledger.checkpoint().size
    assert one.checkpoint == store.ledger.signed_checkpoint().encode()
    (token,) = tokens(one)
    assert authority.accepts(token, one.checkpoint)
    assert not authority.accepts(token, one.checkpoint + b"x")
    store.record()
    store.sequence()
    step(store, made, 1)
    assert len(kept(store)) == 1  # not before the interval
    step(store, made)
    assert [one.size for one in kept(store)] == [4, 5]
    step(store, made)
    assert len(kept(store)) == 2  # nothing new in the log
    made.close()


def test_several_authorities_stamp_and_receipts_carry_them(
    store: Store, start: Callable[..., StampAuthority]
) -> None:
    entry = store.record()
    store.sequence()
    first, second = start("first"), start("second")
    for authority in (first, second):
        made = stamper(store, authority)
        step(store, made)
        made.close()
    store.record_many(5)
    store.sequence()
    receipt = store.receipt(entry.entry_id)
    trusted = tuple(StampTrust(one.folder.name, one.roots) for one in (first, second))
    demands = Demands(stamps=trusted, required=frozenset({"first", "second"}))
    evidence = verify_receipt(receipt, store.policy, demands)
    assert isinstance(evidence, Evidence)
    assert [(one.kind, one.state, one.name) for one in evidence.anchors] == [
        ("stamp", AnchorState.HOLDS, "first"),
        ("stamp", AnchorState.HOLDS, "second"),
    ]
    assert evidence.proved_by == evidence.anchors[0].time
    assert evidence.proved_by is not None
    late = replace(demands, not_later_than=evidence.proved_by - timedelta(seconds=1))
    for told in (late, replace(demands, stamps=trusted[:1])):
        outcome = verify_receipt(receipt, store.policy, told)
        assert isinstance(outcome, Failure)
        assert outcome.code == "demand_unmet"
    unchecked = verify_receipt(receipt, store.policy)
    assert isinstance(unchecked, Evidence)
    assert {one.state for one in unchecked.anchors} == {AnchorState.UNCHECKED}


@pytest.mark.parametrize("mode", ["error", "junk", "replay", "other", "hang"])
def test_an_answer_that_is_none_is_not_kept_and_asked_for_again(
    store: Store, start: Callable[..., StampAuthority], mode: str
) -> None:
    authority = start()
    made = stamper(store, authority, seconds=0.5 if mode == "hang" else 10)
    store.record()
    store.sequence()
    authority.stamp(b"x")
    if mode == "replay":
        step(store, made)
        store.record()
        store.sequence()
    before = kept(store)
    authority.mode = mode
    with pytest.raises((AuthorityUnavailable, StampInvalid, StampMalformed)):
        step(store, made)
    assert kept(store) == before
    made.close()
    authority.mode = "good"
    made = stamper(store, authority)
    step(store, made, 1)
    if not before:
        assert len(kept(store)) == 1
    made.close()


@pytest.mark.parametrize("mode", ["trickle", "trickle headers"])
def test_an_answer_that_trickles_is_given_up_in_its_time(
    store: Store, start: Callable[..., StampAuthority], mode: str
) -> None:
    authority = start()
    made = stamper(store, authority, seconds=1)
    store.record()
    store.sequence()
    authority.mode = mode
    begun = time.monotonic()
    with pytest.raises(AuthorityUnavailable) as error:
        step(store, made)
    # By silences alone this would go on for minutes, or for ever.
    assert 0.9 <= time.monotonic() - begun < 15
    assert error.value.details["reason"] == "ReadTimeout"
    assert kept(store) == []
    authority.mode = "good"
    step(store, made)
    assert len(kept(store)) == 1
    made.close()


def test_another_authority_is_refused_whatever_comes_with_it(
    store: Store, start: Callable[..., StampAuthority]
) -> None:
    authority, other = start(), start("other")
    store.record()
    store.sequence()
    for certificates in (der(authority.between), der(other.between), der(other.roots)):
        wrong = Authority("authority", other.url, authority.roots, certificates)
        made = Stamper(store.ledger, wrong, interval=60, renew_before=timedelta(days=1), seconds=10)
        with pytest.raises(StampInvalid):
            step(store, made)
        made.close()
    assert kept(store) == []


def test_stamps_are_renewed_before_the_certificate_ends(
    store: Store, start: Callable[..., StampAuthority]
) -> None:
    authority = start(days=10)
    made = stamper(store, authority)
    entry = store.record()
    store.sequence()
    step(store, made)  # stamps; asks for a renewal, which ends no later: not kept
    (one,) = kept(store)
    assert len(tokens(one)) == 1
    authority.renew_certificate(3650)
    step(store, made)
    (renewed,) = kept(store)
    assert renewed.expires_at is not None
    assert one.expires_at is not None
    assert renewed.expires_at > one.expires_at + timedelta(days=3000)
    first, second = tokens(renewed)
    assert first == tokens(one)[0]
    assert authority.accepts(first, renewed.checkpoint)
    assert authority.accepts(second, first)
    asked = authority.asked
    step(store, made)
    assert (len(tokens(kept(store)[0])), authority.asked) == (2, asked)
    receipt = store.receipt(entry.entry_id)
    demands = Demands(
        stamps=(StampTrust("authority", authority.roots),), required=frozenset({"authority"})
    )
    evidence = verify_receipt(receipt, store.policy, demands)
    assert isinstance(evidence, Evidence)
    found = verify_stamps((first,), der(authority.between), authority.roots, renewed.checkpoint)
    assert evidence.proved_by == found.time
    made.close()


def test_a_renewal_of_something_else_is_refused(
    start: Callable[..., StampAuthority],
) -> None:
    authority = start()
    first, other = authority.stamp(b"checkpoint"), authority.stamp(b"other")
    between, roots = der(authority.between), authority.roots
    with pytest.raises(StampInvalid):
        verify_stamps((first, other), between, roots, b"checkpoint")
    with pytest.raises(StampMalformed):
        verify_stamps((), between, roots, b"checkpoint")


def test_every_changed_byte_is_refused_or_says_the_same(
    start: Callable[..., StampAuthority],
) -> None:
    """Version numbers and the name of the algorithm are not signed, and change nothing."""
    authority = start()
    token, between = authority.stamp(b"checkpoint"), der(authority.between)
    good = verify_stamp(token, between, authority.roots, b"checkpoint")
    unseen = 0
    for at in range(len(token)):
        for changed in (
            token[:at] + bytes([token[at] ^ 1 << at % 8]) + token[at + 1 :],
            token[:at] + token[at + 1 :],
        ):
            try:
                found = verify_stamp(changed, between, authority.roots, b"checkpoint")
            except (StampInvalid, StampMalformed):
                continue
            assert found == good, at
            unseen += 1
    assert unseen <= 12
    for message in (b"", b"checkpoinT", b"checkpoint\n"):
        with pytest.raises(StampInvalid):
            verify_stamp(token, between, authority.roots, message)
    for mutated in (between[0][:-1] + bytes([between[0][-1] ^ 1]), between[0][:-5], b""):
        with pytest.raises((StampInvalid, StampMalformed)):
            verify_stamp(token, (mutated,), authority.roots, b"checkpoint")


def test_an_attackers_root_beside_the_stamp_is_not_believed(
    start: Callable[..., StampAuthority],
) -> None:
    authority, attacker = start(), start("attacker")
    token = attacker.stamp(b"checkpoint")
    for certificates in (
        der(attacker.between),
        der(attacker.between) + der(attacker.roots),
        der(attacker.between) + der((attacker.folder / "tsa.pem").read_bytes()),
    ):
        with pytest.raises(StampInvalid):
            verify_stamp(token, certificates, authority.roots, b"checkpoint")


# --- The list ---


def listed(folder: Path, **changes: str) -> Path:
    told = {"name": "a", "url": "http://127.0.0.1:1/", "roots": "root.pem", **changes}
    path = folder / "authorities.toml"
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in told.items())
    path.write_text(f"[[authority]]\n{lines}")
    return path


def test_the_list_names_certificates_beside_it(start: Callable[..., StampAuthority]) -> None:
    authority = start()
    (one,) = load_authorities(listed(authority.folder, certificates="between.pem"))
    assert one.roots == authority.roots
    assert one.certificates == der(authority.between)
    (bare,) = load_authorities(listed(authority.folder))
    assert bare.certificates == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "authority.example"},
        {"name": " "},
        {"roots": "missing.pem"},
        {"roots": "openssl.cnf"},
        {"certificates": "missing.pem"},
        {"more": "x"},
    ],
)
def test_a_wrong_list_is_named(
    start: Callable[..., StampAuthority], changes: dict[str, str]
) -> None:
    path = listed(start().folder, **changes)
    with pytest.raises(AuthoritiesInvalid) as caught:
        load_authorities(path)
    assert caught.value.details["path"] == str(path)


@pytest.mark.parametrize("text", ["", "x", "authority = 1", "[[authority]]\nname = 1\n"])
def test_what_is_no_list_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "authorities.toml"
    path.write_text(text)
    with pytest.raises(CodedError, match="stamp_authorities_invalid"):
        load_authorities(path)
