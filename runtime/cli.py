"""The command `mianjiao`. Each command imports what it needs when it runs.

`mianjiao --help` must start in under half a second, so nothing heavy (web
framework, database, document libraries) is imported here.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

from kernel.errors import CodedError

app = App(
    name="mianjiao",
    help="免交：交过的材料，不再要第二次 / Handed in once, not asked for again.",
    version_flags=["--version"],
    help_format="plaintext",
)
log_app = App(name="log", help="查看存证日志 / Read the tamper-evident log.")
app.command(log_app)
witness_app = App(name="witness", help="见证日志 / Be a witness of logs: cosign their checkpoints.")
app.command(witness_app)

Data = Annotated[Path, Parameter(name="--data", help="数据目录 / Folder of the store.")]
Json = Annotated[
    bool, Parameter(name="--json", negative="", help="输出一个 JSON 对象 / Print one JSON object.")
]


@app.command
def init(
    *,
    data: Data,
    name: Annotated[
        str, Parameter(name="--name", help="日志名称（域名形式）/ Name of the log, like a domain.")
    ] = "mianjiao.example",
) -> int:
    """新建存储 / Make a new store in an empty folder."""
    from runtime.commands.store import init_store

    return init_store(data, name)


@app.command
def serve(
    *,
    data: Data,
    host: Annotated[str, Parameter(name="--host", help="监听地址 / Address.")] = "127.0.0.1",
    port: Annotated[int, Parameter(name="--port", help="端口，0 为自动 / Port, 0: any.")] = 8000,
    config: Annotated[
        Path | None,
        Parameter(name="--config", help="配置文件（TOML），同 MIANJIAO_CONFIG / Settings file."),
    ] = None,
) -> int:
    """启动服务 / Serve the store over HTTP."""
    from runtime.commands.serve import serve_store

    return serve_store(data, host, port, config=config)


@app.command
def demo(
    *,
    data: Data,
    files: Annotated[
        Path | None,
        Parameter(name="--files", help="一并提交并复用此目录中的所有文件 / Also play your files."),
    ] = None,
    json: Json = False,
) -> int:
    """演示全过程 / Play the demo story against a fresh store and a real server."""
    from runtime.commands.demo import play

    return play(data, files, as_json=json)


@app.command(name="import")
def import_(
    manifest: Annotated[Path, Parameter(help="CSV 清单 / CSV manifest.")],
    /,
    *,
    data: Data,
    json: Json = False,
) -> int:
    """批量归集历史材料 / Collect back files from a manifest; can be resumed."""
    from runtime.commands.import_files import import_manifest

    return import_manifest(data, manifest, as_json=json)


@app.command
def verify(
    subject: Annotated[
        Path, Parameter(name="RECEIPT|PACKAGE", help="凭证文件或归档包 / Receipt or package.")
    ],
    /,
    *,
    policy: Annotated[Path, Parameter(name="--policy", help="信任策略 / Your trust policy.")],
    file: Annotated[
        Path | None, Parameter(name="--file", help="与凭证比对的文件 / File to compare.")
    ] = None,
    json: Json = False,
) -> int:
    """离线核验 / Verify offline. Exit 0 valid, 1 not valid, 2 unusable input."""
    from runtime.commands.verify import verify as run

    return run(subject, policy, file, json)


@app.command
def fsck(*, data: Data, json: Json = False) -> int:
    """全面检查 / Check everything. Exit 0 clean, 1 with every problem named."""
    from runtime.commands.fsck import check_store

    return check_store(data, as_json=json)


@app.command
def export(
    case: Annotated[str, Parameter(help="案件编号或编码 / Case id or number.")],
    /,
    *,
    data: Data,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="目标目录 / Target folder.")],
) -> int:
    """导出归档包 / Export a closed case as a package that proves itself."""
    from runtime.commands.export import export as run

    return run(data, case, output)


@app.command
def token(
    *,
    data: Data,
    role: Annotated[
        Literal["applicant", "window", "department", "archivist", "auditor", "operator"],
        Parameter(name="--role", help="角色 / Role."),
    ],
    org: Annotated[
        str | None, Parameter(name="--org", help="机构统一社会信用代码 / Credit code of the body.")
    ] = None,
    unit: Annotated[
        str | None, Parameter(name="--unit", help="窗口或科室 / Counter or office.")
    ] = None,
    officer: Annotated[
        str | None, Parameter(name="--officer", help="经办人员 / Officer's name, for slips.")
    ] = None,
    holder: Annotated[
        str | None,
        Parameter(name="--holder", help="本人，类型:号码 / The person, TYPE:CODE."),
    ] = None,
    name: Annotated[
        str | None, Parameter(name="--holder-name", help="本人姓名 / The person's name.")
    ] = None,
    for_: Annotated[
        str | None,
        Parameter(name="--for", help="代谁办理，类型:号码 / On whose behalf, TYPE:CODE."),
    ] = None,
    capacity: Annotated[
        Literal["legal_representative", "license_manager", "operator", "guardian", "agent"] | None,
        Parameter(name="--capacity", help="以何身份 / In which capacity."),
    ] = None,
    days: Annotated[int, Parameter(name="--days", help="有效天数 / Days until it expires.")] = 30,
) -> int:
    """签发访问令牌 / Issue an access token; it is shown once."""
    from runtime.commands.token import TokenRequest, issue_token

    return issue_token(
        data, TokenRequest(role, org, unit, officer, holder, name, for_, capacity, days)
    )


@log_app.command
def checkpoint(*, data: Data) -> int:
    """打印最新检查点 / Print the newest signed checkpoint."""
    from runtime.commands.log import print_checkpoint

    return print_checkpoint(data)


@log_app.command
def proof(index: Annotated[int, Parameter(help="叶序号 / Leaf index.")], /, *, data: Data) -> int:
    """打印包含证明 / Print the inclusion proof of a leaf (tlog-proof)."""
    from runtime.commands.log import print_proof

    return print_proof(data, index)


@log_app.command
def consistency(
    old: Annotated[int, Parameter(help="旧树大小 / Old tree size.")], /, *, data: Data
) -> int:
    """打印一致性证明 / Print the consistency proof from an old size to now."""
    from runtime.commands.log import print_consistency

    return print_consistency(data, old)


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
) -> int:
    """运行见证服务 / Cosign checkpoints of the logs that the file lists (C2SP tlog-witness)."""
    from runtime.commands.witness import serve_witness

    return serve_witness(config)


@app.command
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
    json: Json = False,
) -> int:
    """监测任一日志 / Watch any C2SP log. 0 fine, 1 wrong, 2 unusable, 3 not read, 4 late."""
    from runtime.commands.monitor import monitor as run

    return run(url, policy, state, stall=stall, every=every, metrics=metrics, as_json=json)


@app.command(name="split-view")
def split_view(
    proof: Annotated[Path, Parameter(help="证明文件 / Proof that a witness or monitor wrote.")],
    /,
    *,
    policy: Annotated[Path, Parameter(name="--policy", help="信任策略 / Your trust policy.")],
) -> int:
    """核验分叉证明 / Check a proof that a log signed two trees. Exit 0: it did; 1: not proved."""
    from runtime.commands.split_view import check_split_view

    return check_split_view(proof, policy)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command (default: what was typed) and return its exit code.

    Refusals are one line on standard error; wrong usage is 2.
    """
    try:
        result = app(arguments, exit_on_error=False, print_error=True, result_action="return_value")
    except CycloptsError:
        return 2
    except CodedError as error:
        print(f"mianjiao: {error}", file=sys.stderr)
        return 2 if error.code.endswith("_unreadable") else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Nobody reads any more; the interpreter must not try to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return result if isinstance(result, int) else 0


def main() -> None:
    """Entry point of the `mianjiao` script."""
    sys.exit(run())


if __name__ == "__main__":
    main()
