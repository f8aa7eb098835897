"""The verifier's second file: what it may say, and that it never demands nothing."""

import re
from datetime import UTC, datetime

import pytest

from ledger.checkpoints import Checkpoint
from ledger.demands import demands_text, parse_demands
from ledger.errors import DemandsEmpty, DemandsMalformed
from ledger.evm.model import Consensus
from ledger.merkle import MAX_SIZE

CHAIN = f"""
[[chain]]
name = "市链 city"
contract = "0x{"AB" * 20}"
code_hash = "0x{"01" * 32}"
consensus = "qbft"
validators = ["0x{"11" * 20}", "0x{"22" * 20}"]
"""
STAMP = """
[[stamp]]
name = "authority"
roots = '''-----BEGIN CERTIFICATE-----
AA==
-----END CERTIFICATE-----'''
"""
RETIRED = f"""
[[retired]]
origin = "log.example/2026"
size = 6
root = "0x{"44" * 32}"
"""
HEAD = 'format = "mianjiao.demands/v1"\n'
LIMIT = 'not_later_than = "2027-01-01T00:00:00.000Z"\n'


def test_a_whole_file_is_read() -> None:
    found = parse_demands((HEAD + LIMIT + CHAIN + STAMP + "required = false\n").encode())
    (chain,), (stamp,) = found.chains, found.stamps
    assert (chain.name, chain.consensus) == ("市链 city", Consensus.QBFT)
    assert (chain.contract, chain.code_hash) == (b"\xab" * 20, b"\1" * 32)
    assert chain.validators == {b"\x11" * 20, b"\x22" * 20}
    assert chain.blocks == frozenset()
    assert (stamp.name, stamp.roots[:10]) == ("authority", b"-----BEGIN")
    assert found.required == {"市链 city"}
    assert found.not_later_than == datetime(2027, 1, 1, tzinfo=UTC)


def test_ends_of_shards_are_read() -> None:
    other = RETIRED.replace("2026", "2027").replace("size = 6", f"size = {MAX_SIZE}")
    found = parse_demands((HEAD + RETIRED + other).encode())
    first = Checkpoint("log.example/2026", 6, b"\x44" * 32)
    assert found.retired == {
        first.origin: first,
        "log.example/2027": Checkpoint("log.example/2027", MAX_SIZE, b"\x44" * 32),
    }
    assert parse_demands(demands_text(found.retired.values()).encode()) == found


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("[[retired]]", "a retired log needs origin"),
        (RETIRED.replace("origin", "name"), "needs origin"),
        (re.sub("size.*", "", RETIRED), "needs size"),
        (re.sub("root.*", "", RETIRED), "needs root"),
        (RETIRED + "required = true", "has no required"),
        (RETIRED.replace("log.example/2026", ""), "an origin is"),
        (RETIRED.replace("log.example/2026", "log example/2026"), "an origin is"),
        (RETIRED.replace("log.example/2026", "log+example/2026"), "an origin is"),
        (RETIRED.replace('"log.example/2026"', "2026"), "an origin is"),
        (RETIRED.replace("= 6", "= 0"), "size is a number of entries"),
        (RETIRED.replace("= 6", "= -6"), "size is a number of entries"),
        (RETIRED.replace("= 6", "= 6.0"), "size is a number of entries"),
        (RETIRED.replace("= 6", "= true"), "size is a number of entries"),
        (RETIRED.replace("= 6", '= "6"'), "size is a number of entries"),
        (RETIRED.replace("= 6", f"= {MAX_SIZE + 1}"), "size is a number of entries"),
        (RETIRED.replace("= 6", "= 9999999999999999999999"), "size is a number of entries"),
        (RETIRED.replace("0x", ""), "root is 0x and 64"),
        (RETIRED.replace("4444", "", 1), "root is 0x and 64"),
        (RETIRED.replace("4444", "444g", 1), "root is 0x and 64"),
        (re.sub("root.*", "root = 4", RETIRED), "root is 0x and 64"),
        (RETIRED + RETIRED, "log.example/2026 stands twice"),
        (RETIRED + RETIRED.replace("= 6", "= 7"), "log.example/2026 stands twice"),
        (RETIRED.replace("[[retired]]", "[retired]"), "write [[retired]]"),
        ('retired = ["log.example/2026"]', "write [[retired]]"),
        (
            "".join(RETIRED.replace("2026", str(year)) for year in range(2026, 2091)),
            "too many [[retired]]",
        ),
        (RETIRED + RETIRED.replace("2026", "2027").replace("size", "sizes"), "needs size"),
    ],
)
def test_a_malformed_end_of_a_shard_is_refused_with_its_reason(table: str, reason: str) -> None:
    for text in (HEAD + table, HEAD + table + "\n" + CHAIN):
        with pytest.raises(DemandsMalformed) as caught:
            parse_demands(text.encode())
        assert reason in str(caught.value.details["reason"])
        assert caught.value.code == "demands_malformed"


def test_pinned_blocks_are_read() -> None:
    text = re.sub(r"validators.*", f'blocks = ["0x{"33" * 32}"]', CHAIN)
    for kind in Consensus:
        found = parse_demands((HEAD + text.replace("qbft", kind)).encode())
        assert found.chains[0].blocks == {b"\x33" * 32}


@pytest.mark.parametrize(
    "text",
    [
        HEAD,
        HEAD + CHAIN + "required = false\n",
        HEAD + CHAIN + "required = false\n" + STAMP + "required = false\n",
        HEAD + "chain = []\nstamp = []\n",
    ],
)
def test_a_file_that_demands_nothing_is_an_error(text: str) -> None:
    with pytest.raises(DemandsEmpty):
        parse_demands(text.encode())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "needs the line format"),
        ('format = "mianjiao.demands/v2"\n' + CHAIN, "needs the line format"),
        ("not toml", "not TOML"),
        (HEAD + LIMIT, "needs a chain or a stamp"),
        (HEAD + "more = 1\n" + CHAIN, "has no more"),
        (HEAD + "not_later_than = 2027-01-01\n" + CHAIN, "is text"),
        (HEAD + 'not_later_than = "2027-01-01"\n' + CHAIN, "is a time"),
        (HEAD + CHAIN + 'more = "x"\n', "a chain has no more"),
        (HEAD + CHAIN.replace('name = "市链 city"', ""), "a chain needs name"),
        (HEAD + CHAIN.replace("市链 city", ""), "1 to 100"),
        (HEAD + CHAIN.replace("市链 city", " x"), "1 to 100"),
        (HEAD + CHAIN + CHAIN, "stands twice"),
        (HEAD + CHAIN.replace("qbft", "raft"), "consensus is"),
        (HEAD + CHAIN.replace("qbft", "plain"), "no validators"),
        (HEAD + CHAIN + f'blocks = ["0x{"33" * 32}"]\n', "either blocks or validators"),
        (HEAD + re.sub(r"validators.*", "validators = []", CHAIN), "either blocks or validators"),
        (HEAD + CHAIN.replace("0x" + "AB" * 20, "0x" + "AB" * 19), "contract is 0x and 40"),
        (HEAD + CHAIN.replace("0x" + "AB" * 20, "AB" * 21), "contract is 0x and 40"),
        (HEAD + CHAIN.replace("0x" + "22" * 20, "0x" + "11" * 20), "one twice"),
        (HEAD + CHAIN + 'required = "no"\n', "true or false"),
        (HEAD + "[chain]\n", "write [[chain]]"),
        (HEAD + "chain = [1]\n", "write [[chain]]"),
        (HEAD + STAMP.replace("BEGIN", "START"), "certificates in PEM"),
        (HEAD + "a = " + "[" * 5000 + "]" * 5000, "not TOML"),
        (HEAD + "#" * (1 << 20), "too long"),
    ],
)
def test_a_malformed_file_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(DemandsMalformed) as caught:
        parse_demands(text.encode())
    assert reason in str(caught.value.details["reason"])


def test_what_is_not_utf_8_is_refused() -> None:
    with pytest.raises(DemandsMalformed):
        parse_demands(b"\xff")
