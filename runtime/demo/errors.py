"""Refusals of the demo."""

from kernel.errors import InvalidInput, Unavailable


class ServerDidNotStart(Unavailable):
    code = "server_did_not_start"
    zh = "服务进程未能启动（退出码 {status}）"
    en = "the server process did not start (exit status {status})"


class DemoExpectation(Unavailable):
    code = "demo_unexpected"
    zh = "演示第 {step} 步结果与预期不符：{got}"
    en = "step {step} of the demo did not go as told: {got}"


class FilesFolderMissing(InvalidInput):
    code = "files_folder_unreadable"
    zh = "--files 指定的目录不存在：{path}"
    en = "the folder given with --files does not exist: {path}"
