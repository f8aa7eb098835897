"""The witness's settings file and its keys: what is wrong is named."""

from pathlib import Path

import pytest

from ledger.keys import open_typed_key_file
from ledger.policy import parse_policy
from runtime.cli import run
from runtime.errors import ConfigUnreadable, SettingInvalid
from runtime.witness_config import read_witness_config

from .conftest import ORIGIN, SIGNER

LOG = f'[[logs]]\nvkeys = ["{SIGNER.key.text}"]\n'


@pytest.fixture
def keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Keys in `tmp_path`, and what `keygen` printed."""
    assert run(["witness", "keygen", "--name", "archive.example/w", "-o", str(tmp_path)]) == 0
    return capsys.readouterr().out


def test_keygen_prints_lines_of_a_policy(keys: str, tmp_path: Path) -> None:
    text = f"log {SIGNER.key.text}\n{keys}quorum archive.example-w\n"
    policy = parse_policy(text.encode())
    assert policy.groups["archive.example-w"].threshold == 1
    for suffix in ("ed25519", "mldsa44"):
        key = open_typed_key_file(tmp_path / f"archive.example-w.{suffix}.key").key
        assert policy.witnesses[f"archive.example-w.{suffix}"].key == key


def test_keygen_replaces_nothing(keys: str, tmp_path: Path) -> None:
    assert keys
    assert run(["witness", "keygen", "--name", "archive.example/w", "-o", str(tmp_path)]) == 1


def config_of(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "witness.toml"
    path.write_text(text)
    return path


def test_a_good_file(keys: str, tmp_path: Path) -> None:
    assert keys
    names = '["archive.example-w.ed25519.key", "archive.example-w.mldsa44.key"]'
    config = read_witness_config(config_of(tmp_path, f'keys = {names}\nstate = "s"\n{LOG}'))
    assert config.state == tmp_path / "s"
    assert list(config.logs) == [ORIGIN]
    assert len(config.cosigners) == 2


GOOD = 'keys = ["archive.example-w.ed25519.key"]\nstate = "s"\n'


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (LOG, "keys"),
        ('keys = []\nstate = "s"\n' + LOG, "keys"),
        ('keys = ["absent.key"]\nstate = "s"\n' + LOG, "keys[0]"),
        (GOOD.replace('"]', '", "archive.example-w.ed25519.key"]') + LOG, "keys[1]"),
        (GOOD.replace("state", "stat") + LOG, "state"),
        (GOOD + "port = 70000\n" + LOG, "port"),
        (GOOD + 'port = "80"\n' + LOG, "port"),
        (GOOD + "colour = 1\n" + LOG, "colour"),
        (GOOD, "logs"),
        (GOOD + "[[logs]]\nvkeys = []\n", "logs[0].vkeys"),
        (GOOD + '[[logs]]\nvkeys = ["nonsense"]\n', "logs[0].vkeys[0]"),
        (GOOD + LOG + LOG, "logs[1]"),
        (GOOD + LOG.replace("vkeys", "keys"), "logs[0].vkeys"),
    ],
)
def test_a_mistake_is_named(keys: str, tmp_path: Path, text: str, field: str) -> None:
    assert keys
    path = config_of(tmp_path, text)
    with pytest.raises(SettingInvalid) as caught:
        read_witness_config(path)
    assert caught.value.details["name"] == f"{field} ({path})"
    assert caught.value.details["rule"] != caught.value.details["rule_en"]


def test_no_file_and_no_toml(tmp_path: Path) -> None:
    with pytest.raises(ConfigUnreadable):
        read_witness_config(tmp_path / "absent.toml")
    with pytest.raises(ConfigUnreadable):
        read_witness_config(config_of(tmp_path, "keys = ["))
