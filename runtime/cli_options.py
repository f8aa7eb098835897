"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

Data = Annotated[Path, Parameter(name="--data", help="数据目录 / Folder of the store.")]
Config = Annotated[
    Path | None,
    Parameter(name="--config", help="配置文件（TOML），同 MIANJIAO_CONFIG / Settings file."),
]
Seconds = Annotated[
    float, Parameter(name="--seconds", help="最多等待多少秒 / Wait at most this long.")
]
Json = Annotated[
    bool, Parameter(name="--json", negative="", help="输出一个 JSON 对象 / Print one JSON object.")
]
Host = Annotated[str, Parameter(name="--host", help="监听地址 / Address.")]
