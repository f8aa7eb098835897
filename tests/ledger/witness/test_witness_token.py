"""A witness whose Ed25519 key is in a PKCS#11 token."""

import json
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tests.conftest import ROOT, mianjiao
from tests.ledger.witness.conftest import Tree
from tests.servers.softhsm import PIN, Token


def test_a_witness_cosigns_by_a_token(
    token: Token, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIANJIAO_PKCS11_MODULE", str(token.tokens.module))
    monkeypatch.setenv("MIANJIAO_PKCS11_PIN", PIN)
    monkeypatch.setenv("MIANJIAO_PKCS11_TOKEN", token.label)
    log = Tree([b"a", b"b"])
    printed = mianjiao("witness", "keygen", "--name", "witness.example", "-o", tmp_path).stdout
    assert printed.count("witness witness.example.") == 2
    reference = tmp_path / "witness.example.ed25519.key"
    assert reference.read_text().startswith("pkcs11:")
    config = tmp_path / "witness.toml"
    config.write_text(
        'keys = ["witness.example.ed25519.key", "witness.example.mldsa44.key"]\n'
        f'state = "state"\nport = 0\n[[logs]]\nvkeys = ["{log.signer.key.text}"]\n'
    )
    # A fresh interpreter, as an operator starts it: what a token's library keeps is not shared.
    command = [sys.executable, "-m", "runtime.cli", "witness", "serve", "--json"]
    command += ["--config", str(config)]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        added = f"{url}/add-checkpoint"
        answer = httpx2.post(added, content=log.request(0, 1))
        assert (answer.status_code, answer.text.count("— witness.example ")) == (200, 2)
        token.take_out()
        assert httpx2.post(added, content=log.request(1, 2)).status_code == 503
        token.put_back()
        assert httpx2.post(added, content=log.request(1, 2)).status_code == 200
        process.terminate()
    token.take_out()
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    token.put_back()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.rstrip().endswith("[token_not_found]")
