"""Settings: environment above file above defaults, secrets from files, errors that name them."""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from kernel.errors import CodedError
from runtime.settings import Settings, read_settings, secrets, variable
from tests.conftest import mianjiao

TOKEN = "correct-horse-battery-staple"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIANJIAO_CANARY_SECONDS")


def written(folder: Path, text: str) -> Path:
    path = folder / "mianjiao.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(config: Path | None = None) -> CodedError:
    with pytest.raises(CodedError) as caught:
        read_settings(config)
    return caught.value


def test_without_anything_the_defaults_hold() -> None:
    assert read_settings() == Settings()
    assert read_settings().queue_limit == 100_000


def test_the_environment_stands_above_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = written(tmp_path, "queue_limit = 5\ndisk_low_mib = 7\nwatch_seconds = 2\n")
    monkeypatch.setenv("MIANJIAO_QUEUE_LIMIT", "6")
    settings = read_settings(config)
    assert (settings.queue_limit, settings.disk_low_mib, settings.watch_seconds) == (6, 7, 2.0)
    assert settings.batch_interval_ms == 100


def test_the_file_may_be_named_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIANJIAO_CONFIG", str(written(tmp_path, "queue_limit = 5\n")))
    assert read_settings().queue_limit == 5
    other = tmp_path / "other.toml"
    other.write_text("queue_limit = 9\n")
    assert read_settings(other).queue_limit == 9


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIANJIAO_QUEUE_LIMIT", "")
    monkeypatch.setenv("MIANJIAO_TRACES_URL", "")
    assert read_settings() == Settings()


@pytest.mark.parametrize(
    ("text", "name", "zh"),
    [
        ("queue_limit = 0", "queue_limit", "不得小于 1"),
        ("queue_limit = 'many'", "queue_limit", "应为整数"),
        ("queue_limit = 1.5", "queue_limit", "应为整数"),
        ("sweep_hours = 0", "sweep_hours", "应大于 0"),
        ("watch_seconds = 'x'", "watch_seconds", "应为数字"),
        ("traces_ratio = 1.1", "traces_ratio", "不得大于 1"),
        ("log_level = 'LOUD'", "log_level", "之一"),
        ("traces_url = 'collector:4318'", "traces_url", "形式应为"),
        ("metrics_access = 'token'", "metrics_token", "必须设置"),
        ("s3_secure = 'perhaps'", "s3_secure", "true"),
        ("anchor_chain_id = 0", "anchor_chain_id", "不得小于 1"),
        ("anchor_contract = '0x12'", "anchor_contract", "形式应为"),
        (f"anchor_contract = '0x{'ab' * 20}'", "anchor_url", "必须设置"),
        ("anchor_consensus = 'raft'", "anchor_consensus", "之一"),
        ("anchor_finality = 'soon'", "anchor_finality", "形式应为"),
        ("pkcs11_module = '/module.so'", "pkcs11_pin", "一并设置"),
        ("pkcs11_pin = '1357'", "pkcs11_module", "一并设置"),
        ("pkcs11_token = 'mianjiao'", "pkcs11_module", "一并设置"),
        ("anchor_interval_seconds = 0", "anchor_interval_seconds", "不得小于 1"),
        ("stamp_renew_days = 0", "stamp_renew_days", "不得小于 1"),
        ("anchor_gas_price_wei = 'cheap'", "anchor_gas_price_wei", "应为整数"),
    ],
)
def test_a_wrong_value_is_named_with_its_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, name: str, zh: str
) -> None:
    error = refused(written(tmp_path, text))
    assert error.code == "setting_invalid"
    assert name in error.message_zh().lower()
    assert zh in error.message_zh()
    assert name in error.message_en().lower()
    assert not re.search(r"[\u4e00-\u9fff]", error.message_en())
    key, _, value = text.partition(" = ")
    monkeypatch.setenv(variable(key), value.strip("'"))
    assert variable(name) in str(refused())


def test_names_that_are_none_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = refused(written(tmp_path, "queue_limits = 5\n"))
    assert (error.code, "queue_limits" in str(error)) == ("setting_unknown", True)
    assert refused(written(tmp_path, "[queue]\nlimit = 5\n")).code == "setting_unknown"
    monkeypatch.setenv("MIANJIAO_QUEUE_LIMITS", "5")
    error = refused()
    assert (error.code, "MIANJIAO_QUEUE_LIMITS" in str(error)) == ("setting_unknown", True)


def test_only_secrets_may_come_from_files_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert secrets() == (
        "database_url",
        "s3_access_key",
        "s3_secret_key",
        "pkcs11_pin",
        "metrics_token",
        "anchor_url",
        "anchor_key",
    )
    monkeypatch.setenv("MIANJIAO_QUEUE_LIMIT_FILE", "limit")
    assert refused().code == "setting_unknown"


def test_a_secret_comes_from_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "token"
    secret.write_text(TOKEN + "\n")
    monkeypatch.setenv("MIANJIAO_METRICS_TOKEN_FILE", str(secret))
    settings = read_settings()
    assert settings.metrics_token == SecretStr(TOKEN)
    assert TOKEN not in repr(settings)
    monkeypatch.delenv("MIANJIAO_METRICS_TOKEN_FILE")
    config = written(tmp_path, f"metrics_token_file = '{secret}'\n")
    assert read_settings(config).metrics_token == SecretStr(TOKEN)
    monkeypatch.setenv("MIANJIAO_METRICS_TOKEN", TOKEN[::-1])
    assert read_settings(config).metrics_token == SecretStr(TOKEN[::-1])


def test_a_secret_is_never_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = tmp_path / "token"
    short.write_text("hunter2hunter2")
    monkeypatch.setenv("MIANJIAO_METRICS_TOKEN_FILE", str(short))
    error = refused()
    assert "MIANJIAO_METRICS_TOKEN_FILE" in str(error)
    assert "hunter2" not in str(error)
    short.write_bytes(b"\xff\xfe")
    assert refused().code == "setting_invalid"
    short.unlink()
    assert "MIANJIAO_METRICS_TOKEN_FILE" in str(refused())
    monkeypatch.setenv("MIANJIAO_METRICS_TOKEN", "hunter2hunter2hunter2")
    error = refused()
    assert (error.code, "hunter2" in str(error)) == ("setting_twice", False)
    monkeypatch.delenv("MIANJIAO_METRICS_TOKEN_FILE")
    monkeypatch.delenv("MIANJIAO_METRICS_TOKEN")
    error = refused(written(tmp_path, "metrics_token = 'hunter2hunter2\n"))
    assert (error.code, "hunter2" in str(error)) == ("config_unreadable", False)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "none.toml"
    error = refused(missing)
    assert (error.code, str(missing) in str(error)) == ("config_unreadable", True)
    broken = tmp_path / "broken.toml"
    broken.write_bytes(b"queue_limit = \xff")
    assert refused(broken).code == "config_unreadable"


def test_serve_stops_with_one_line_and_touches_nothing(tmp_path: Path) -> None:
    config = written(tmp_path, "queue_limit = -1\n")
    done = mianjiao("serve", "--data", tmp_path / "store", "--config", config, expect=1)
    (line,) = done.stderr.splitlines()
    assert "queue_limit" in line
    assert "不得小于 1" in line
    assert not (tmp_path / "store").exists()
