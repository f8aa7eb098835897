"""Real PKCS#11 tokens: SoftHSM in a temporary folder.

Its configuration is named by the environment and read whenever the module is opened, and a
module is opened once in a process: so there is one folder for each process of the tests, and
each test makes tokens of its own in it.
"""

import os
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from ledger.pkcs11.library import library_at
from ledger.pkcs11.signers import Tokens

PIN = "1357-user"
OFFICER_PIN = "2468-officer"
_MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)


@dataclass(frozen=True, slots=True)
class Token:
    """One token: how the product reaches it, and the folder in which SoftHSM keeps it."""

    tokens: Tokens
    folder: Path

    @property
    def label(self) -> str:
        assert self.tokens.label is not None
        return self.tokens.label

    def take_out(self) -> None:
        self.folder.rename(self._drawer)

    def put_back(self) -> None:
        self._drawer.rename(self.folder)

    @property
    def _drawer(self) -> Path:
        return self.folder.parent.parent / self.folder.name


class SoftHsm:
    """A folder of tokens."""

    def __init__(self, folder: Path) -> None:
        module = next((Path(one) for one in _MODULES if Path(one).is_file()), None)
        if module is None or shutil.which("softhsm2-util") is None:
            assert os.environ.get("CI") != "true", "CI=true, and there is no SoftHSM"
            pytest.skip("no SoftHSM: apt install softhsm2")
        self.module = module
        self._folder = folder / "tokens"
        self._folder.mkdir(parents=True)
        configuration = folder / "softhsm2.conf"
        configuration.write_text(
            f"directories.tokendir = {self._folder}\nobjectstore.backend = file\n"
        )
        # For this process and those that it starts.
        os.environ["SOFTHSM2_CONF"] = str(configuration)

    def token(self) -> Token:
        """A new token, under a label of its own."""
        label = f"mianjiao {secrets.token_hex(4)}"
        before = set(self._folder.iterdir())
        self.tool(
            "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", OFFICER_PIN
        )  # fmt: skip
        (folder,) = set(self._folder.iterdir()) - before
        library_at(self.module).close()  # it lists tokens when it is opened
        return Token(Tokens(self.module, PIN, label), folder)

    def tool(self, *arguments: str | Path) -> None:
        subprocess.run(["softhsm2-util", *arguments], capture_output=True, check=True)
