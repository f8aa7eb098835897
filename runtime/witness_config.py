"""The settings file of a witness: TOML, every mistake refused with the field's name."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kernel.errors import CodedError
from ledger.keys import Cosigner, Ed25519Signer, open_typed_key_file
from ledger.notes import SignatureType, VerifierKey
from ledger.pkcs11.signers import Tokens, TokenSigner
from runtime.errors import ConfigUnreadable, SettingInvalid
from runtime.setting_rules import sentences

_LOG_TYPES = (SignatureType.ED25519, SignatureType.COSIGNATURE_MLDSA44)


@dataclass(frozen=True, slots=True)
class WitnessConfig:
    """What `mianjiao witness serve` needs, its keys opened. Paths are absolute."""

    state: Path
    host: str
    port: int
    cosigners: tuple[Cosigner, ...]
    logs: Mapping[str, tuple[VerifierKey, ...]]


class _Log(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    vkeys: Annotated[list[str], Field(min_length=1)]
    origin: str | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    keys: Annotated[list[str], Field(min_length=1, max_length=16)]
    state: str
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8081
    logs: Annotated[list[_Log], Field(min_length=1)]


def read_witness_config(path: Path, tokens: Tokens | None = None) -> WitnessConfig:
    """Read the file and the keys that it names, relative to its folder; `tokens`: how those
    in PKCS#11 tokens are reached.

    `ConfigUnreadable`, or `SettingInvalid` with the field (`logs[0].vkeys[1]`).
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigUnreadable(path=str(path), reason=error.strerror) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigUnreadable(path=str(path), reason=str(error)) from None
    except UnicodeDecodeError:
        raise ConfigUnreadable(path=str(path), reason="UTF-8") from None
    try:
        file = _File.model_validate(told)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        zh, en = sentences(first)
        raise SettingInvalid(name=_field(first["loc"], path), rule=zh, rule_en=en) from None
    folder = path.absolute().parent
    return WitnessConfig(
        state=folder / file.state,
        host=file.host,
        port=file.port,
        cosigners=_cosigners(file.keys, folder, path, tokens),
        logs=_logs(file.logs, path),
    )


def _cosigners(
    names: list[str], folder: Path, path: Path, tokens: Tokens | None
) -> tuple[Cosigner, ...]:
    opened: list[Cosigner] = []
    for number, name in enumerate(names):
        field = _field(("keys", number), path)
        try:
            key = open_typed_key_file(folder / name, tokens)
        except FileNotFoundError:
            raise SettingInvalid(name=field, rule="没有该文件", rule_en="no such file") from None
        except CodedError as error:
            raise _refused(field, error) from error
        if isinstance(key, Ed25519Signer | TokenSigner):
            raise SettingInvalid(
                name=field,
                rule="这是日志的密钥，不是见证的密钥",
                rule_en="this is the key of a log, not of a witness",
            )
        if any(one.key == key.key for one in opened):
            raise _twice(field)
        opened.append(key)
    return tuple(opened)


def _logs(logs: list[_Log], path: Path) -> dict[str, tuple[VerifierKey, ...]]:
    found: dict[str, tuple[VerifierKey, ...]] = {}
    for number, log in enumerate(logs):
        keys: list[VerifierKey] = []
        for place, text in enumerate(log.vkeys):
            field = _field(("logs", number, "vkeys", place), path)
            try:
                key = VerifierKey.parse(text)
            except CodedError as error:
                raise _refused(field, error) from error
            if key.type not in _LOG_TYPES:
                raise SettingInvalid(
                    name=field, rule="应为日志的公钥", rule_en="the key of a log is needed"
                )
            if keys and log.origin is None and key.name != keys[0].name:
                raise SettingInvalid(
                    name=field,
                    rule="同一日志的公钥应同名，或写明 origin",
                    rule_en="the keys of a log have one name, unless origin is set",
                )
            if key in keys:
                raise _twice(field)
            keys.append(key)
        origin = log.origin or keys[0].name
        if origin in found:
            raise _twice(_field(("logs", number), path))
        found[origin] = tuple(keys)
    return found


def _field(place: tuple[int | str, ...], path: Path) -> str:
    name = "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in place)
    return f"{name.lstrip('.')} ({path})"


def _refused(field: str, error: CodedError) -> SettingInvalid:
    return SettingInvalid(name=field, rule=error.message_zh(), rule_en=error.message_en())


def _twice(field: str) -> SettingInvalid:
    return SettingInvalid(name=field, rule="重复", rule_en="it stands there twice")
