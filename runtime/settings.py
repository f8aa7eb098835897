"""The one settings reader: environment first, then a file, then the defaults below.

Environment variables begin with `MIANJIAO_`; the file is TOML with the same names in
lower case and without the prefix. docs/operations.md has the table, made from here.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from runtime.errors import ConfigUnreadable, SettingInvalid, SettingTwice, SettingUnknown
from runtime.setting_rules import rule_of

PREFIX = "MIANJIAO_"
CONFIG = "MIANJIAO_CONFIG"
_FILE = "_file"
# One without the others is a mistake. Their forms are checked by `storage.s3`.
S3_TOGETHER = ("s3_endpoint", "s3_bucket", "s3_access_key", "s3_secret_key")


class Settings(BaseSettings):
    """Everything that can be set, with its unit, range and default."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True
    )

    database_url: SecretStr | None = None
    """PostgreSQL 数据库，postgresql://用户:口令@主机:端口/库名；不设则用数据目录中的 SQLite。
    PostgreSQL database, postgresql://user:password@host:port/name; without it SQLite in the
    data folder."""
    s3_endpoint: str | None = None
    """对象存储（S3）的 主机:端口，不带 http://；不设则内容与日志存放在数据目录中。
    host:port of an S3 server, without http://; without it content and log lie in the data
    folder."""
    s3_bucket: str | None = None
    """存储桶名称；mianjiao init 会建立它（版本控制、对象锁）。
    Name of the bucket; mianjiao init makes it, with versions and object lock."""
    s3_secure: bool = True
    """是否以 TLS 连接对象存储。
    Whether the S3 server is reached by TLS."""
    s3_access_key: SecretStr | None = None
    """对象存储的访问密钥。
    Access key at the S3 server."""
    s3_secret_key: SecretStr | None = None
    """对象存储访问密钥的密文。
    The access key's secret."""
    s3_region: str = "us-east-1"
    """对象存储的区域名。
    Region of the bucket."""
    s3_ca_file: Path | None = None
    """签发对象存储证书的 CA（PEM 文件），不用系统自带的。
    PEM file of the CA that signed the S3 server's certificate, instead of the system's."""
    s3_conditional_put: bool = True
    """对象存储是否遵守写入条件 If-None-Match: *；若自检称不遵守（如 Ceph 16），设为 false：
    每次写入后另查最先者为谁。
    Whether the S3 server holds If-None-Match: * on puts; false where the self-test says that
    it does not (Ceph 16): then every put is followed by a look at who was first."""
    high_water_file: Path | None = None
    """另一磁盘上的文件，记住最新日志头；整机回退到旧快照后据此拒绝签名。
    File on another disk that remembers the newest head of the log; a machine that was put
    back to an older snapshot then signs nothing."""
    pkcs11_module: Path | None = None
    """PKCS#11 模块文件；日志的 Ed25519 密钥在令牌中时设置，见 docs/signing-keys.md。
    File of the PKCS#11 module, where the log's Ed25519 key is in a token: docs/signing-keys.md."""
    pkcs11_pin: SecretStr | None = None
    """令牌的用户 PIN。
    The token's user PIN."""
    pkcs11_token: Annotated[str, Field(min_length=1, max_length=32)] | None = None
    """令牌的标签：新的日志密钥建在其中（不可导出）；不设则建为文件。
    Label of the token in which new log keys are made, never to leave it; without it they are
    files."""
    batch_interval_ms: Annotated[int, Field(ge=1, le=60_000)] = 100
    """日志每隔多久收取一批条目，毫秒。
    How long entries gather before the sequencer takes them, in milliseconds."""
    upload_limit_mib: Annotated[int, Field(ge=1, le=1_048_576)] = 4096
    """单个文件上限，MiB；目录可按材料类型规定更小的值。
    Largest single file, in MiB; the catalogue may set less per material type."""
    receive_idle_seconds: Annotated[float, Field(gt=0, le=3600)] = 15.0
    """发送方最多沉默多久，秒。
    How long a sender may be silent, in seconds."""
    receive_grace_seconds: Annotated[float, Field(ge=0, le=3600)] = 30.0
    """此后平均速率须达标，秒。
    After this many seconds the average rate must be reached."""
    receive_rate_bytes: Annotated[int, Field(ge=0)] = 16 * 1024
    """发送方最低平均速率，字节每秒。
    Least average rate of a sender, in bytes per second."""
    worker_threads: Annotated[int, Field(ge=1, le=512)] = 40
    """处理等待磁盘或数据库的请求的线程数。
    Threads for requests that wait for disk or database."""
    sweep_hours: Annotated[float, Field(gt=0)] = 24.0
    """未被使用的上传在多少小时后清除。
    Uploads that became part of nothing are removed after this many hours."""
    queue_limit: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000
    """等待写入日志的条目达到此数时，写请求答 503。
    With this many entries waiting for the log, writes are answered 503."""
    verification_limit: Annotated[int, Field(ge=1, le=10_000)] = 128
    """每个进程同时进行的核验数上限，超过时答 503 并请稍后重试；排队时间约为此数除以每秒核验数。
    How many verifications a process works on at once; more are answered 503, to be asked again.
    The wait of those let in is about this number over the verifications a second."""
    witness_policy: str | None = None
    """信任策略文件（tlog-policy），列出本日志和各见证及其网址；不设则没有见证。
    Trust policy (tlog-policy) that lists this log, the witnesses and their URLs; without it there
    are no witnesses."""
    witness_seconds: Annotated[float, Field(gt=0, le=60)] = 2.0
    """一个见证须在此时间内答复，秒。
    How long one witness may take to answer, in seconds."""
    witness_unmet: Literal["pending", "hold"] = "pending"
    """见证人数不足时：pending 照常发放存证凭证，日后补全；hold 暂不发放。
    While the quorum of witnesses is unmet: pending serves receipts as they are, hold keeps them
    back."""
    log_late_seconds: Annotated[float, Field(gt=0, le=86_400)] = 30.0
    """条目等待写入日志超过此时间，即为未就绪，秒。
    An entry that waits longer than this for the log makes the service not ready, in seconds."""
    disk_low_mib: Annotated[int, Field(ge=0, le=1_048_576)] = 256
    """可用空间低于此值时停止写入，MiB。
    Below this much free space writes stop, in MiB."""
    disk_reserve_mib: Annotated[int, Field(ge=0, le=65_536)] = 16
    """为日志预留的磁盘空间，磁盘写满时释放，MiB。
    Space held back for the log, given up when the disk is full, in MiB."""
    watch_seconds: Annotated[float, Field(ge=0.05, le=60)] = 1.0
    """多久检查一次数据库、对象存储、队列和磁盘，秒。
    How often database, object store, queue and disk are looked at, in seconds."""
    canary_seconds: Annotated[float, Field(ge=0, le=86_400)] = 300.0
    """多久自检一次（写入、读回、证明），秒；0 为不自检。
    How often something is written, read back and proved as a check, in seconds; 0: never."""
    canary_timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """自检条目须在此时间内写入日志，秒。
    Within this many seconds the log must hold what the check wrote."""
    clock_tolerance_seconds: Annotated[float, Field(ge=0, le=86_400)] = 10.0
    """启动时，本机时间最多可落后于最新检查点多少秒。
    How far this computer's time may lie behind the last checkpoint at a start, in seconds."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "WARNING"
    """INFO 时每个请求记一行，不含个人信息。
    INFO writes one line per request, without personal data."""
    metrics_access: Literal["loopback", "token", "off"] = "loopback"
    """谁可以读取 /metrics：本机、持令牌者，或关闭。
    Who may read /metrics: this computer, whoever has the token, or nobody."""
    metrics_token: SecretStr | None = None
    """读取 /metrics 的令牌（Authorization: Bearer），至少 16 个字符。
    The token for /metrics (Authorization: Bearer), at least 16 characters."""
    traces_url: Annotated[str, Field(pattern="^https?://")] | None = None
    """链路跟踪的 OTLP/HTTP 地址，例如 http://127.0.0.1:4318/v1/traces；需要 otel 扩展。
    OTLP/HTTP address for traces, e.g. http://127.0.0.1:4318/v1/traces; needs the extra otel."""
    traces_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    """跟踪的请求所占比例。
    Which part of the requests is traced."""

    anchor_url: SecretStr | None = None
    """链节点的 JSON-RPC 地址；不设则不上链存证，见 docs/anchoring.md。
    JSON-RPC address of the chain's node; without it nothing is anchored: docs/anchoring.md."""
    anchor_chain_id: Annotated[int, Field(ge=1, le=2**53 - 1)] | None = None
    """链的编号（chain id）；节点属于另一条链时不存证。
    The chain's number; with a node of another chain nothing is anchored."""
    anchor_contract: Annotated[str, Field(pattern="^0x[0-9a-fA-F]{40}$")] | None = None
    """合约地址，由 mianjiao anchor deploy 建立。
    Address of the contract, which mianjiao anchor deploy makes."""
    anchor_key: SecretStr | None = None
    """存证账户的私钥，64 位十六进制；只在本机签名。
    Private key of the anchoring account, 64 hex digits; it signs here and is never sent."""
    anchor_consensus: Literal["plain", "clique", "qbft", "ibft2"] = "plain"
    """链的共识方式，决定区块头如何计算哈希。
    How the chain agrees on blocks: it decides how a header is hashed."""
    anchor_finality: Annotated[str, Field(pattern="^(finalized|[0-9]{1,4})$")] = "finalized"
    """何时视为最终：链自己的 finalized，或其后的区块数（0：出块即最终）。
    When a block is final: what the chain calls finalized, or blocks on top (0: at once)."""
    anchor_interval_seconds: Annotated[float, Field(ge=1, le=86_400)] = 600.0
    """两次存证之间至少间隔多少秒。
    Least time between two anchors, in seconds."""
    anchor_gas_price_wei: Annotated[int, Field(ge=0, le=10**18)] | None = None
    """固定的燃料价格，wei；不设则询问节点。
    A fixed gas price, in wei; without it the node is asked."""
    anchor_gas_price_limit_wei: Annotated[int, Field(ge=0, le=10**18)] = 10**12
    """燃料价格上限，wei；超过时暂缓。
    Highest gas price, in wei; above it anchoring waits."""
    anchor_timeout_seconds: Annotated[float, Field(gt=0, le=300)] = 10.0
    """等待链节点应答多久，秒。
    How long the chain's node is waited for, in seconds."""

    stamp_authorities: Annotated[str, Field(min_length=1)] | None = None
    """时间戳服务清单（TOML 文件）；不设则不加盖时间戳，见 docs/anchoring.md。
    File that lists time-stamp authorities; without it nothing is stamped: docs/anchoring.md."""
    stamp_interval_seconds: Annotated[float, Field(ge=1, le=604_800)] = 3600.0
    """两次时间戳之间至少间隔多少秒。
    Least time between two stamps of an authority, in seconds."""
    stamp_renew_days: Annotated[int, Field(ge=1, le=3650)] = 90
    """证书到期前多少天续期其时间戳。
    How many days before a certificate ends its stamps are renewed."""
    stamp_timeout_seconds: Annotated[float, Field(gt=0, le=300)] = 20.0
    """等待时间戳服务应答多久，秒。
    How long an authority is waited for, in seconds."""

    evidence_leaf_seconds: Annotated[float, Field(ge=1, le=604_800)] = 600.0
    """日志中两次载入外部证据摘要之间至少间隔多少秒。
    Least time between two entries that name evidence from outside, in seconds."""

    @model_validator(mode="after")
    def _anchoring_whole_or_not_at_all(self) -> "Settings":
        if self.anchor_contract is None:
            return self
        for name in ("anchor_url", "anchor_chain_id", "anchor_key"):
            if getattr(self, name) is None:
                raise ValueError(f"{name}:contract")
        return self

    @model_validator(mode="after")
    def _token_where_it_is_needed(self) -> "Settings":
        token = self.metrics_token
        if token is not None and len(token.get_secret_value()) < 16:
            raise ValueError("metrics_token:short")
        if self.metrics_access == "token" and token is None:
            raise ValueError("metrics_token:missing")
        return self

    @model_validator(mode="after")
    def _token_whole_or_not_at_all(self) -> "Settings":
        if self.pkcs11_module is None and (self.pkcs11_pin or self.pkcs11_token):
            raise ValueError("pkcs11_module:pkcs11")
        if self.pkcs11_module is not None and not self.pkcs11_pin:
            raise ValueError("pkcs11_pin:pkcs11")
        return self

    @model_validator(mode="after")
    def _bucket_whole_or_not_at_all(self) -> "Settings":
        missing = [name for name in S3_TOGETHER if getattr(self, name) is None]
        if missing and len(missing) < len(S3_TOGETHER):
            raise ValueError(f"{missing[0]}:bucket")
        return self


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def secrets() -> tuple[str, ...]:
    """The settings that may also be read from a file, by `MIANJIAO_…_FILE`."""
    return tuple(
        name
        for name, field in Settings.model_fields.items()
        if SecretStr in (field.annotation, *get_args(field.annotation))
    )


def read_settings(config: Path | None = None) -> Settings:
    """Read file and environment once; the first wrong setting stops the start.

    `config`: a TOML file; by default the one that `MIANJIAO_CONFIG` names, if any.
    `SettingInvalid`, `SettingUnknown`, `SettingTwice`, `ConfigUnreadable`.
    """
    environment = {name.upper(): value for name, value in os.environ.items() if value}
    if config is None and CONFIG in environment:
        config = Path(environment[CONFIG])
    told = _from_file(config)
    for name in _known(environment, config, told):
        told.pop(name, None)  # the environment stands above the file
    where = {name: f"{name} ({config})" for name in told}
    values: dict[str, Any] = {}
    for name, value in told.items():
        values.update(_opened(name, value, where[name]))
    for name in secrets():
        path = environment.get(variable(name + _FILE))
        if path is not None:
            values.update(_opened(name + _FILE, path, variable(name + _FILE)))
            where[name] = variable(name + _FILE)
    try:
        return Settings(**values)
    except ValidationError as error:
        setting, (zh, en) = rule_of(error.errors(include_url=False)[0])
        raise SettingInvalid(
            name=where.get(setting, variable(setting)), rule=zh, rule_en=en
        ) from None


def _from_file(config: Path | None) -> dict[str, Any]:
    if config is None:
        return {}
    try:
        return tomllib.loads(config.expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigUnreadable(path=str(config), reason=error.strerror) from None
    except tomllib.TOMLDecodeError as error:
        # Where, never what: a secret may stand in the line.
        line = f"line {error.lineno}" if hasattr(error, "lineno") else "TOML"
        raise ConfigUnreadable(path=str(config), reason=line) from None
    except UnicodeDecodeError:
        raise ConfigUnreadable(path=str(config), reason="UTF-8") from None


def _known(
    environment: Mapping[str, str], config: Path | None, told: Mapping[str, Any]
) -> Iterator[str]:
    """The settings that the environment gives, as the file would name them.

    A name that is none, or a value given in two ways at once, is refused: whoever
    wrote it believes that it does something.
    """
    files = {name + _FILE for name in secrets()}
    known = {*Settings.model_fields, *files}
    for name in told:
        if name not in known:
            raise SettingUnknown(name=f"{name} ({config})")
    given = {
        name.removeprefix(PREFIX).lower()
        for name in environment
        if name.startswith(PREFIX) and name != CONFIG
    }
    for name in sorted(given):
        if name not in known:
            raise SettingUnknown(name=variable(name))
    for name in files:
        plain = name.removesuffix(_FILE)
        if {name, plain} <= given or {name, plain} <= set(told):
            raise SettingTwice(name=variable(plain), other=variable(name))
        if name in given:
            yield plain
        elif plain in given:
            yield name
    yield from given


def _opened(name: str, value: Any, where: str) -> dict[str, Any]:
    """A setting as it is, or a secret from the file that it names, without its last newline."""
    plain = name.removesuffix(_FILE)
    if name == plain or plain not in secrets():
        return {name: value}
    try:
        return {plain: Path(str(value)).expanduser().read_text(encoding="utf-8").strip()}
    except (OSError, UnicodeDecodeError):
        raise SettingInvalid(
            name=where, rule="不能读取该文件", rule_en="the file cannot be read"
        ) from None


def data_path(data: Path) -> Path:
    """The data folder as an absolute path."""
    return data.expanduser().resolve()
