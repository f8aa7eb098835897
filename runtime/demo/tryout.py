"""What `mianjiao serve` tells about a demo store: who is who, and what to try next."""

import json
from pathlib import Path
from shlex import quote

from runtime.demo import people

TOKENS = "tokens.json"


def results_of(data: Path) -> Path:
    """Where the demo of a store left its results."""
    return data.with_name(data.name + "-demo")


def guide(data: Path, url: str) -> list[str]:
    """Lines for a terminal; none when the store was not made by the demo."""
    results = results_of(data)
    tokens = results / TOKENS
    if not tokens.is_file():
        return []
    identities = json.loads(tokens.read_text(encoding="utf-8"))
    by_key = {one["key"]: one["token"] for one in identities}
    case = json.dumps(
        {
            "matter": people.FOOD_MATTER,
            "variant": "moved",
            "applicant": people.COMPANY.ref(),
            "acting": people.ACTS_FOR_COMPANY,
            "channel": "window",
        },
        ensure_ascii=False,
    )
    receipt = next(iter(sorted((results / "receipts").glob("mat_*.json"))), None)
    package = next(
        (path for path in sorted((results / "packages").glob("cas_*")) if path.is_dir()), None
    )
    policy = quote(short(results / "policy.txt"))
    mianjiao = command()
    lines = ["", "演示身份与令牌 / demo identities and their tokens"]
    lines += [f"  {one['token']}  {one['role']:<10}  {one['who']}" for one in identities]
    lines += [
        "",
        "试一试（另开一个终端）/ try next, in another terminal",
        "",
        "  # 沈云舟的使用记录：谁、何时、哪个办件、依据什么 / who used what is hers",
        f"  curl -s '{url}/v1/uses?limit=3' -H 'Authorization: Bearer {by_key['representative']}'",
        "",
        "  # 综窗3号开一个办件，再问哪些材料可以免交 / open a case, ask what need not be brought",
        f"  W='Authorization: Bearer {by_key['window']}'",
        f"  CASE=$(curl -s {url}/v1/cases -H \"$W\" -H 'Content-Type: application/json' \\",
        f"    -d {quote(case)} \\",
        "    | python3 -c 'import json,sys; print(json.load(sys.stdin)[\"case_id\"])')",
        f'  curl -s -X POST {url}/v1/cases/$CASE/exemptions -H "$W" \\',
        "    | python3 -m json.tool --no-ensure-ascii",
        "",
    ]
    if receipt is not None:
        lines += [
            "  # 离线核验一份凭证 / verify a receipt, offline",
            f"  {mianjiao} verify {quote(short(receipt))} --policy {policy}",
        ]
    if package is not None:
        lines += [
            "  # 离线核验一个归档包 / verify a package of a closed case, offline",
            f"  {mianjiao} verify {quote(short(package))} --policy {policy}",
        ]
    lines += [
        "  # 全面检查（可与服务同时运行）/ check everything, while it is served",
        f"  {mianjiao} fsck --data {quote(short(data))}",
        "",
    ]
    return lines


def command() -> str:
    """How the user reaches this program from where they stand."""
    local = Path(".venv/bin/mianjiao")
    return str(local) if local.is_file() else "mianjiao"


def short(path: Path) -> str:
    """Relative to where the user stands, if it lies below."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
