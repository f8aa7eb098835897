"""The command `mianjiao`. Each command imports what it needs when it runs.

`mianjiao --help` must start in under half a second, so nothing heavy (web
framework, database, document libraries) is imported here.
"""

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter, validators

from kernel.errors import CodedError
from runtime.cli_evidence import (
    anchor_app,
    monitor,
    receipt_app,
    refused_evidence,
    split_view,
    witness_app,
)
from runtime.cli_options import Config, Data, Host, Json
from runtime.cli_tokens import token_app

app = App(
    name="mianjiao",
    help="免交：交过的材料，不再要第二次 / Handed in once, not asked for again.",
    version_flags=["--version"],
    version=lambda: version("mianjiao"),
    help_format="plaintext",
)
log_app = App(name="log", help="查看存证日志 / Read the tamper-evident log.")
app.command(log_app)
keys_app = App(name="keys", help="密钥轮换 / Rotate the key-encryption keys.")
app.command(keys_app)
app.command(token_app)
app.command(receipt_app)
app.command(anchor_app)
app.command(witness_app)
app.command(monitor)
app.command(split_view, name="split-view")
app.command(refused_evidence, name="refused-evidence")


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
    host: Host = "127.0.0.1",
    port: Annotated[int, Parameter(name="--port", help="端口，0 为自动 / Port, 0: any.")] = 8000,
    config: Config = None,
    rooms: Annotated[
        str | None,
        Parameter(
            name="--rooms",
            help="承担的部分，默认全部：materials,licenses,archive,log,sequencer"
            " / What this process does; all by default.",
        ),
    ] = None,
    workers: Annotated[
        int,
        Parameter(
            name="--workers",
            validator=validators.Number(gte=1, lte=64),
            help="共用端口的进程数 / Processes that share the port.",
        ),
    ] = 1,
    json: Json = False,
) -> int:
    """启动服务 / Serve the store over HTTP."""
    from runtime.commands.serve import serve_store
    from runtime.rooms import parse_rooms

    return serve_store(
        data,
        host,
        port,
        config=config,
        rooms=parse_rooms(rooms),
        workers=workers,
        announce_json=json,
    )


@app.command
def sequencer(
    *,
    data: Data,
    host: Host = "127.0.0.1",
    port: Annotated[int, Parameter(name="--port", help="端口，0 为自动 / Port, 0: any.")] = 8001,
    config: Config = None,
    json: Json = False,
) -> int:
    """只写日志；已有进程在写时待命接管 / Only write the log; stand by while another does."""
    from runtime.commands.serve import serve_store
    from runtime.rooms import Room

    return serve_store(data, host, port, config=config, rooms={Room.SEQUENCER}, announce_json=json)


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
    demands: Annotated[
        Path | None,
        Parameter(name="--demands", help="要求的时间与链上证据 / Demanded time and chain."),
    ] = None,
    json: Json = False,
) -> int:
    """离线核验 / Verify offline. Exit 0 valid, 1 not valid, 2 unusable input."""
    from runtime.commands.verify import verify as run

    return run(subject, policy, file, json, demands)


@app.command
def fsck(
    *,
    data: Data,
    jobs: Annotated[
        int,
        Parameter(
            name="--jobs",
            help="进程数 / Processes that share the rows.",
        ),
    ] = 1,
    json: Json = False,
) -> int:
    """全面检查 / Check everything. Exit 0 clean, 1 with every problem named."""
    from runtime.commands.fsck import check_store

    return check_store(data, as_json=json, jobs=jobs)


@app.command
def scrub(
    *,
    data: Data,
    jobs: Annotated[
        int | None,
        Parameter(
            name="--jobs",
            help="进程数，默认为处理器数 / Processes; one for each processor if not given.",
        ),
    ] = None,
    max_mb_per_second: Annotated[
        float | None,
        Parameter(
            name="--max-mb-per-second",
            validator=validators.Number(gt=0),
            help="内容读取速度上限，合计 / Read content no faster than this, all together.",
        ),
    ] = None,
    ray: Annotated[
        str | None, Parameter(name="--ray", help="Ray 集群地址 / Address of a Ray cluster.")
    ] = None,
    restart: Annotated[
        bool,
        Parameter(
            name="--restart",
            negative="",
            help="从头开始，不续做 / Begin anew instead of going on where the last one stopped.",
        ),
    ] = False,
    json: Json = False,
) -> int:
    """巡检全部内容与存证 / Re-hash every object, check every commitment; can be resumed.

    Exit 0 clean, 1 with every problem named, 2 not done to the end.
    """
    from runtime.commands.scrub import scrub_store

    return scrub_store(
        data,
        jobs=jobs,
        max_mb_per_second=max_mb_per_second,
        ray=ray,
        restart=restart,
        as_json=json,
    )


@app.command
def backup(
    *,
    data: Annotated[
        Path | None, Parameter(name="--data", help="数据目录 / Folder of the store.")
    ] = None,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="备份目录 / Folder of the backup.")
    ] = None,
    check: Annotated[
        Path | None, Parameter(name="--check", help="只检查此备份 / Only check this backup.")
    ] = None,
    json: Json = False,
) -> int:
    """备份（不含密钥），可在服务运行时进行 / Back up, without keys; also while serving."""
    from runtime.commands import backup as run

    if check is not None and data is None and output is None:
        return run.check(check, as_json=json)
    if check is not None or data is None or output is None:
        print("mianjiao backup --data DIR -o BACKUP | --check BACKUP", file=sys.stderr)
        return 2
    return run.back_up(data, output, as_json=json)


@app.command
def restore(
    *,
    data: Annotated[Path, Parameter(name="--data", help="新目录 / A new folder for the store.")],
    from_: Annotated[Path, Parameter(name="--from", help="备份目录 / Folder of the backup.")],
    keys: Annotated[Path, Parameter(name="--keys", help="密钥目录 / Folder of the keys.")],
    log: Annotated[
        Path | None, Parameter(name="--log", help="最新日志的副本 / Newest copy of the log.")
    ] = None,
    backup_is_newest: Annotated[
        bool,
        Parameter(
            name="--backup-is-newest",
            negative="",
            help="备份后没有发布过新内容 / Nothing was published after the backup.",
        ),
    ] = False,
    json: Json = False,
) -> int:
    """从备份恢复 / Restore from a backup; names what was lost."""
    from runtime.commands.restore import restore_store

    return restore_store(data, from_, keys, log, is_newest=backup_is_newest, as_json=json)


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


@keys_app.command
def rotate(*, data: Data, json: Json = False) -> int:
    """轮换密钥，使旧备份也打不开已删内容 / Rotate: older copies then open nothing erased."""
    from runtime.commands.keys import rotate_keys

    return rotate_keys(data, as_json=json)


@keys_app.command(name="status")
def keys_status(*, data: Data, json: Json = False) -> int:
    """查看密钥轮换状态 / Which epoch is in force, and what waits for the next rotation."""
    from runtime.commands.keys import show_keys

    return show_keys(data, as_json=json)


@log_app.command
def checkpoint(*, data: Data) -> int:
    """打印最新检查点 / Print the newest signed checkpoint."""
    from runtime.commands.log import print_checkpoint

    return print_checkpoint(data)


@log_app.command
def policy(*, data: Data) -> int:
    """打印只信任本日志的信任策略 / Print a trust policy for this log alone (tlog-policy)."""
    from runtime.commands.log import print_policy

    return print_policy(data)


@log_app.command
def close(
    shard: Annotated[str, Parameter(help="后续分片，如 2027 / The shard that follows.")],
    /,
    *,
    data: Data,
    prepare: Annotated[
        bool,
        Parameter(
            name="--prepare",
            negative="",
            help="只生成后续分片的密钥 / Only make the next shard's keys, to announce them.",
        ),
    ] = False,
) -> int:
    """封存当前分片，转入后续分片（须先停止服务） / End this shard; another follows it.

    Stop all servers first. The keys of the ended shard are destroyed. Cut off, run it again.
    """
    from runtime.commands.close import close_log

    return close_log(data, shard, only_prepare=prepare)


@log_app.command
def retired(*, data: Data) -> int:
    """打印已封存分片的末检查点，供核验方要求 / How earlier shards ended, for --demands."""
    from runtime.commands.log import print_retired

    return print_retired(data)


@log_app.command
def remember(*, data: Data) -> int:
    """重建记住日志头的文件 / Make the file that remembers the head anew."""
    from runtime.commands.log import remember as run

    return run(data)


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
        # 1 says that something was looked at and is not well.
        return 2 if error.code.endswith(("_unreadable", "jobs_invalid")) else 1
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
