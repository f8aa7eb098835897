"""What can be wrong with a bucket, in one line each that says what to do.

The server's own words are never passed on: they may name keys and hosts.
"""

from kernel.errors import InvalidInput, Unavailable
from storage.errors import StoreAway


class S3SettingInvalid(InvalidInput):
    code = "s3_setting_invalid"
    zh = "对象存储设置 {setting} 不正确；应为：{form}"
    en = "the object store's setting {setting} is wrong; it is {form}"

    def message_en(self) -> str:
        return self.en.format(setting=self.details["setting"], form=self.details["form_en"])


class S3Unreachable(StoreAway):
    code = "s3_unreachable"
    zh = "连不上对象存储 {endpoint}（{problem}）；请检查服务是否运行、地址与网络"
    en = (
        "the object store at {endpoint} cannot be reached ({problem}): "
        "check that it runs, its address and the network"
    )


class S3Slow(StoreAway):
    code = "s3_slow"
    zh = "对象存储 {endpoint} 响应过慢，已放弃；请检查其负载与磁盘"
    en = "the object store at {endpoint} answers too slowly: check its load and its disks"


class S3Busy(StoreAway):
    code = "s3_busy"
    zh = "对象存储 {endpoint} 暂不能处理请求（{problem}）；请稍后重试并检查其状态"
    en = (
        "the object store at {endpoint} takes no requests now ({problem}): "
        "try again shortly, and check its state"
    )


class S3NotUnderstood(StoreAway):
    code = "s3_not_understood"
    zh = "{endpoint} 的应答不是 S3（{problem}）；请检查地址、端口以及是否应使用 TLS"
    en = (
        "what answers at {endpoint} does not speak S3 ({problem}): "
        "check address and port, and whether TLS is meant"
    )


class S3CertificateRefused(Unavailable):
    code = "s3_certificate_refused"
    zh = "与对象存储 {endpoint} 的 TLS 连接不成立（{problem}）；请检查证书、CA 文件与 TLS 设置"
    en = (
        "no TLS connection to the object store at {endpoint} ({problem}): "
        "check its certificate, the CA file and whether TLS is meant"
    )


class S3CredentialsRefused(Unavailable):
    code = "s3_credentials_refused"
    zh = "对象存储 {endpoint} 不接受该凭证（{problem}）；请检查访问密钥及其密文"
    en = (
        "the object store at {endpoint} refuses the credentials ({problem}): "
        "check the access key and its secret"
    )


class S3AccessDenied(Unavailable):
    code = "s3_access_denied"
    zh = "凭证无权对存储桶 {bucket} 执行 {action}；请授予该权限"
    en = "the credentials may not {action} in the bucket {bucket}: grant them that"


class S3ClockSkewed(Unavailable):
    code = "s3_clock_skewed"
    zh = "本机时钟与对象存储 {endpoint} 相差过大；请校准时钟"
    en = "the clocks here and at the object store {endpoint} are too far apart: set them right"


class BucketMissing(Unavailable):
    code = "bucket_missing"
    zh = "找不到存储桶 {bucket}；请先在对象存储中建立（启用对象锁），或检查名称"
    en = "there is no bucket {bucket}: create it with object lock, or check its name"


class BucketWithoutVersioning(Unavailable):
    code = "bucket_without_versioning"
    zh = "存储桶 {bucket} 未启用版本控制；请启用，否则已存内容可被覆盖"
    en = "the bucket {bucket} keeps no versions: enable versioning, or content can be overwritten"


class BucketWithoutLock(Unavailable):
    code = "bucket_without_lock"
    zh = "存储桶 {bucket} 未启用对象锁，保管期限无法保证；请另建启用对象锁的存储桶"
    en = (
        "the bucket {bucket} has no object lock, so retention cannot be kept: "
        "create another one with object lock"
    )


class S3SelfTestFailed(Unavailable):
    code = "s3_self_test_failed"
    zh = "对象存储自检未通过：存储桶 {bucket} 允许 {what}；拒绝服务，请更换或修复对象存储"
    en = (
        "self-test of the object store: the bucket {bucket} allowed to {what}; "
        "refusing to serve until the store is repaired or replaced"
    )
