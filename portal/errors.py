"""Refusals of the portal room."""

from kernel.errors import NotFound


class PageUnknown(NotFound):
    code = "page_unknown"
    zh = "没有这个页面"
    en = "there is no such page"
