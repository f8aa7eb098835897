"""Refusals of the runtime: start-up, settings, and the edge of the HTTP application."""

from kernel.errors import Conflict, InvalidInput, TooLarge, TooSlow, Unavailable


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


class StoreExists(Conflict):
    code = "store_exists"
    zh = "{path} 已有内容，不能在其上新建"
    en = "{path} is not empty; a store is only made in an empty or new folder"


class StoreMissing(Unavailable):
    code = "store_missing"
    zh = "{path} 不是免交存储；请先运行 mianjiao init --data {path}"
    en = "{path} is no Mianjiao store; run mianjiao init --data {path} first"


class SettingInvalid(InvalidInput):
    code = "setting_invalid"
    zh = "设置 {name} 无效：{rule}"
    en = "setting {name} is not valid: {rule}"


class AddressInUse(Unavailable):
    code = "address_in_use"
    zh = "{address} 已被占用；换一个端口：--port"
    en = "{address} is already in use; choose another with --port"


class HolderUnreadable(InvalidInput):
    code = "holder_unreadable"
    zh = "主体应写作 类型:号码，例如 111:310199198802299064"
    en = "write a holder as TYPE:CODE, e.g. 111:310199198802299064"


class CapacityWithoutHolder(InvalidInput):
    code = "capacity_without_holder_unreadable"
    zh = "代办须同时写明 --holder、--for 和 --capacity"
    en = "acting for another needs --holder, --for and --capacity together"
