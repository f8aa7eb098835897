"""Commands of evidence from outside: receipts brought up to date, chain, witness, split view."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from runtime.cli_options import Config, Data, Json, Seconds

witness_app = App(name="witness", help="见证日志 / Be a witness of logs: cosign their checkpoints.")
anchor_app = App(name="anchor", help="上链存证 / Anchor the log on a chain.")
receipt_app = App(name="receipt", help="存证凭证 / Receipts.")


@receipt_app.command
def refresh(
    receipt: Annotated[Path, Parameter(help="凭证文件 / Receipt.")],
    /,
    *,
    data: Data,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="写到此文件 / Write here instead.")
    ] = None,
) -> int:
    """补充最新证据 / Bring a receipt to the newest evidence. The old file stays."""
    from runtime.commands.receipt import refresh_receipt

    return refresh_receipt(data, receipt, output)


@anchor_app.command
def deploy(
    *,
    data: Data,
    registrar: Annotated[
        str, Parameter(name="--registrar", help="管理员（冷钥）地址 / Address of the cold key.")
    ],
    config: Config = None,
    seconds: Seconds = 120.0,
) -> int:
    """建立合约 / Make the contract, once."""
    from runtime.commands.anchor import make_contract

    return make_contract(data, registrar, config, seconds)


@anchor_app.command
def once(*, data: Data, config: Config = None, seconds: Seconds = 120.0, json: Json = False) -> int:
    """立即存证 / Anchor the newest checkpoint now. Exit 0 final, 1 not yet."""
    from runtime.commands.anchor import anchor_once

    return anchor_once(data, config, seconds, as_json=json)


@anchor_app.command(name="status")
def anchor_status(*, data: Data, config: Config = None, json: Json = False) -> int:
    """进展 / How far the evidence got."""
    from runtime.commands.anchor import print_status

    return print_status(data, config, as_json=json)


@anchor_app.command(name="demands")
def print_demands(*, data: Data, config: Config = None) -> int:
    """供核验方参考 / Print what a verifier needs to know of the chain (TOML)."""
    from runtime.commands.anchor import print_demands as run

    return run(data, config)


@anchor_app.command
def appointment(
    shard: Annotated[
        str | None, Parameter(help="分片，如 2027；默认当前 / Shard; the present one if not said.")
    ] = None,
    /,
    *,
    data: Data,
    config: Config = None,
) -> int:
    """打印供管理员（冷钥）签发的任命 / Print the call by which the registrar appoints the key.

    Each shard is a log of its own to the contract: once a year, before the shard begins.
    """
    from runtime.commands.anchor import print_appointment

    return print_appointment(data, shard, config)


@witness_app.command(name="keygen")
def witness_keygen(
    *,
    name: Annotated[str, Parameter(name="--name", help="见证名称（域名形式）/ Like a domain.")],
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="目录 / Folder for the keys.")],
) -> int:
    """生成见证密钥 / Make a witness's two keys, and print its lines for trust policies."""
    from runtime.commands.witness import make_keys

    return make_keys(name, output)


@witness_app.command(name="serve")
def witness_serve(
    *,
    config: Annotated[Path, Parameter(name="--config", help="配置文件（TOML）/ Settings file.")],
    json: Json = False,
) -> int:
    """运行见证服务 / Cosign checkpoints of the logs that the file lists (C2SP tlog-witness)."""
    from runtime.commands.witness import serve_witness

    return serve_witness(config, announce_json=json)


def monitor(
    url: Annotated[str, Parameter(help="日志网址 / Where the log is served.")],
    /,
    *,
    policy: Annotated[Path, Parameter(name="--policy", help="信任策略 / Your trust policy.")],
    state: Annotated[Path, Parameter(name="--state", help="监测状态目录 / Folder to remember in.")],
    stall: Annotated[
        float, Parameter(name="--stall", help="多少秒无新增即为停滞 / Seconds without growth.")
    ] = 86_400,
    every: Annotated[
        float | None, Parameter(name="--every", help="每隔多少秒再看 / Look again after seconds.")
    ] = None,
    metrics: Annotated[
        Path | None, Parameter(name="--metrics", help="Prometheus 文本文件 / Text file to write.")
    ] = None,
    demands: Annotated[
        Path | None,
        Parameter(name="--demands", help="核验要求：链与时间戳 / Pins of chains and stamps."),
    ] = None,
    json: Json = False,
) -> int:
    """监测任一日志 / Watch any C2SP log. 0 fine, 1 wrong, 2 unusable, 3 not read, 4 late."""
    from runtime.commands.monitor import monitor as run

    return run(
        url,
        policy,
        state,
        stall=stall,
        every=every,
        metrics=metrics,
        as_json=json,
        demands=demands,
    )


def split_view(
    proof: Annotated[Path, Parameter(help="证明文件 / Proof that a witness or monitor wrote.")],
    /,
    *,
    policy: Annotated[Path, Parameter(name="--policy", help="信任策略 / Your trust policy.")],
) -> int:
    """核验分叉证明 / Check a proof that a log signed two trees. Exit 0: it did; 1: not proved."""
    from runtime.commands.split_view import check_split_view

    return check_split_view(proof, policy)


def refused_evidence(
    proof: Annotated[Path, Parameter(help="证明文件 / Proof that a monitor wrote.")],
    /,
    *,
    policy: Annotated[Path, Parameter(name="--policy", help="信任策略 / Your trust policy.")],
    demands: Annotated[Path, Parameter(name="--demands", help="核验要求 / Your pins.")],
) -> int:
    """核验证据不成立的证明 / Check a proof that a log named evidence that fails. Exit 0: it did."""
    from runtime.commands.refused_evidence import check_refused_evidence

    return check_refused_evidence(proof, policy, demands)
