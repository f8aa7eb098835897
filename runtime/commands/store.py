"""`mianjiao init`: brings a store into being."""

from pathlib import Path


def init_store(data: Path, name: str) -> int:
    """Make the store and say what lies where and what to do next."""
    from runtime.settings import data_path
    from runtime.store import create_store, open_store

    create_store(data, name)
    with open_store(data) as store:
        print(f"已建立存储 / store made: {data_path(data)}")
        print(f"  日志 log     {store.ledger_origin}")
        print(f"  公钥 key     {store.ledger.vkey}")
        print("  请另行备份 keys/ 目录；丢失后内容无法解密。")
        print("  Back up keys/ elsewhere: without it nothing can be decrypted.")
        print(f"  下一步 next  mianjiao serve --data {data}")
    return 0
