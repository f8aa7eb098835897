"""Refusals of the runtime: start-up, settings, and the edge of the HTTP application."""

from kernel.errors import (
    Conflict,
    Corrupt,
    InvalidInput,
    TooLarge,
    TooSlow,
    Unavailable,
)


class SenderTooSlow(TooSlow):
    code = "sender_too_slow"
    zh = "发送过慢或中断，{seconds} 秒后放弃；内容未保存"
    en = "the sender was too slow or stalled and was given up after {seconds} s; nothing was stored"


class BodyTooLarge(TooLarge):
    code = "body_too_large"
    zh = "请求内容超过上限（{limit} 字节）"
    en = "the request body is over the limit of {limit} bytes"


class FieldTwice(InvalidInput):
    code = "field_twice"
    zh = "请求内容中同一字段出现两次"
    en = "a field stands twice in an object of the request body"


class QueueTooDeep(Unavailable):
    code = "queue_too_deep"
    zh = "等待存证的条目过多，请 {seconds} 秒后重试；查询不受影响"
    en = "too many entries wait for the log; try again in {seconds} s; reading goes on"


class VerificationsTooMany(Unavailable):
    code = "verifications_too_many"
    zh = "同时进行的核验过多，请 {seconds} 秒后重试；本次未核验，授权未使用"
    en = (
        "too many verifications are under way; try again in {seconds} s; nothing was verified "
        "and no authorisation was used"
    )


class DiskLow(Unavailable):
    code = "disk_low"
    zh = "存储空间不足，暂停写入；查询不受影响，请 {seconds} 秒后重试"
    en = "disk space is low and writing has stopped; reading goes on; try again in {seconds} s"


class NotReady(Unavailable):
    code = "not_ready"
    zh = "尚未就绪：{missing}"
    en = "not ready: {missing}"


class CanaryFailed(Corrupt):
    code = "canary_failed"
    zh = "自检写入的内容未能读回或未按时写入日志"
    en = "what the check wrote did not read back, or did not reach the log in time"


class ClockBehind(Unavailable):
    code = "clock_behind"
    zh = "本机时间（{now}）早于最新检查点（{checkpoint}），拒绝启动；请校准时钟"
    en = (
        "this computer's time ({now}) lies before the last checkpoint ({checkpoint}): "
        "set the clock; nothing was started"
    )


class TracesUnavailable(Unavailable):
    code = "traces_unavailable"
    zh = "设置了 MIANJIAO_TRACES_URL，但未安装 otel 扩展：pip install 'mianjiao[otel]'"
    en = "MIANJIAO_TRACES_URL is set, but the extra is not installed: pip install 'mianjiao[otel]'"


class StoreExists(Conflict):
    code = "store_exists"
    zh = "{path} 已有内容，不能在其上新建"
    en = "{path} is not empty; a store is only made in an empty or new folder"


class BucketTaken(Conflict):
    code = "bucket_taken"
    zh = "存储桶 {bucket} 中已有内容或日志，不能在其上新建；请换一个存储桶"
    en = (
        "the bucket {bucket} holds content or a log already; a store is only made in an empty"
        " or new one: name another"
    )


class StoreMissing(Unavailable):
    code = "store_missing"
    zh = "{path} 不是免交存储；请先运行 mianjiao init --data {path}"
    en = "{path} is no Mianjiao store; run mianjiao init --data {path} first"


class RestoreUnfinished(Unavailable):
    code = "restore_unfinished"
    zh = "{path} 的恢复没有完成；请重新运行 mianjiao restore"
    en = "the restore of {path} was not finished; run mianjiao restore again"


class SettingInvalid(InvalidInput):
    code = "setting_invalid"
    zh = "设置 {name} 无效：{rule}"
    en = "setting {name} is not valid: {rule}"

    def message_en(self) -> str:
        return self.en.format(name=self.details["name"], rule=self.details["rule_en"])


class JobsInvalid(InvalidInput):
    code = "jobs_invalid"
    zh = "进程数（--jobs）必须是 1 到 {most} 的整数"
    en = "the number of processes (--jobs) must be a whole number from 1 to {most}"


class SettingUnknown(InvalidInput):
    code = "setting_unknown"
    zh = "没有 {name} 这项设置；全部设置见 docs/operations.md"
    en = "there is no setting {name}; docs/operations.md lists all of them"


class SettingTwice(InvalidInput):
    code = "setting_twice"
    zh = "{name} 与 {other} 只能设置其一"
    en = "set either {name} or {other}, not both"


class ConfigUnreadable(InvalidInput):
    code = "config_unreadable"
    zh = "不能读取配置文件 {path}（{reason}）"
    en = "the configuration file {path} cannot be read ({reason})"


class RoomUnknown(InvalidInput):
    code = "room_unknown"
    zh = "没有名为 {room} 的部分；可选：{known}"
    en = "there is no room {room}; there are {known}"


class WorkersFailing(Unavailable):
    code = "workers_failing"
    zh = "服务进程未能运行（最后退出码 {status}），已停止；原因见上"
    en = "the worker processes do not stay (last exit status {status}); stopped, see above"


class ReceiptFileUnusable(InvalidInput):
    code = "receipt_file_unreadable"
    zh = "不能读取或写入凭证文件 {path}（不覆盖已有文件）"
    en = "the receipt file {path} cannot be read or written (nothing is overwritten)"


class AddressUnreadable(InvalidInput):
    code = "address_unreadable"
    zh = "链上地址应写作 0x 加 40 位十六进制数"
    en = "write an address of a chain as 0x and 40 hex digits"


class IndexBeyondLog(InvalidInput):
    code = "index_beyond_log"
    zh = "日志没有序号 {index}：现有 {size} 条，序号从 0 起"
    en = "the log has no index {index}: it holds {size} entries, counted from 0"


class AddressInUse(Unavailable):
    code = "address_in_use"
    zh = "{address} 已被占用；换一个端口：--port"
    en = "{address} is already in use; choose another with --port"


class AddressRefused(Unavailable):
    code = "address_refused"
    zh = "不能使用地址 {address}（{reason}）；请检查 --host 与 --port，1024 以下的端口需要特权"
    en = (
        "cannot use the address {address} ({reason}); check --host and --port; "
        "ports below 1024 want privileges"
    )


class HolderUnreadable(InvalidInput):
    code = "holder_unreadable"
    zh = "主体应写作 类型:号码，例如 111:310199198802299064"
    en = "write a holder as TYPE:CODE, e.g. 111:310199198802299064"


class CapacityWithoutHolder(InvalidInput):
    code = "capacity_without_holder_unreadable"
    zh = "代办须同时写明 --holder、--for 和 --capacity"
    en = "acting for another needs --holder, --for and --capacity together"


class ScrubBusy(Conflict):
    code = "scrub_busy"
    zh = "另一次巡检正在进行"
    en = "another scrub of this store is running"


class ScrubStopped(Unavailable):
    code = "scrub_stopped"
    zh = "巡检未能完成（{reason}）；再次运行即从中断处继续"
    en = "the scrub did not come to its end ({reason}); run it again and it goes on from there"


class RayMissing(Unavailable):
    code = "ray_missing"
    zh = "指定了 --ray，但未安装 ray 扩展：pip install 'mianjiao[ray]'"
    en = "--ray was given, but the extra is not installed: pip install 'mianjiao[ray]'"


class RayUnreachable(Unavailable):
    code = "ray_unreachable"
    zh = "无法连接 Ray 集群 {address}"
    en = "the Ray cluster at {address} cannot be reached"
