"""What a monitor finds, and why it could not look."""

from kernel.errors import Corrupt, InvalidInput, Unavailable


class LogUnreachable(Unavailable):
    code = "log_unreachable"
    zh = "无法读取日志的 {path}：{reason}"
    en = "{path} of the log cannot be read: {reason}"


class LogRolledBack(Corrupt):
    code = "log_rolled_back"
    zh = "日志倒退：曾见 {known} 条，现示 {shown} 条"
    en = "the log went back: it had {known} entries and shows {shown}"


class LogSplit(Corrupt):
    code = "log_split"
    zh = "日志签署了两棵不同的树；证明见 {proof}"
    en = "the log signed two trees that contradict each other; the proof: {proof}"


class LogDamaged(Corrupt):
    code = "log_damaged"
    zh = "日志的 {path} 与其检查点不符：{reason}"
    en = "{path} of the log does not agree with its checkpoint: {reason}"


class MonitorStateInvalid(InvalidInput):
    code = "monitor_state_unreadable"
    zh = "监测状态 {path} 不可用：{reason}"
    en = "the monitor's state {path} cannot be used: {reason}"
