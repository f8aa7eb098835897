#!/bin/sh
# Installs the chain node (anvil) and the Solidity compiler for tests, once, from npm by
# hash (scripts/evm/package-lock.json), outside of the repository:
#   ${XDG_CACHE_HOME:-~/.cache}/mianjiao/servers/evm-<hash of the lock>/
#
#   scripts/servers/evm.sh          install it unless it is there; says where
#   scripts/servers/evm.sh --path   only say where; ends with 1 if it is not there
set -eu

cd "$(dirname "$0")/../evm"
servers="${XDG_CACHE_HOME:-$HOME/.cache}/mianjiao/servers"
folder="$servers/evm-$(sha256sum package-lock.json | cut -c 1-12)"

fail() {
    printf '\nmianjiao: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '          %s\n' "$line" >&2; done
    exit 1
}

if [ -d "$folder/node_modules" ]; then
    echo "$folder"
    exit 0
fi
[ "${1:-}" != --path ] || exit 1

command -v npm >/dev/null 2>&1 ||
    fail "缺少 npm，无法安装测试用的链节点与合约编译器；请先安装：apt install nodejs npm" \
        "npm is missing, so the chain node and the compiler for tests cannot be installed." \
        "Install it: apt install nodejs npm"

mkdir -p "$servers"
work=$(mktemp -d "$servers/.installing-XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP
cp package.json package-lock.json "$work"
echo "mianjiao: installing anvil and solc (npm)" >&2
(cd "$work" && npm ci --silent --ignore-scripts --no-audit --no-fund >log 2>&1) || {
    tail -n 5 "$work/log" >&2
    fail "npm 安装失败，原因见上" "npm could not install them; the reason stands above."
}
rm -f "$work/log"
# Whole or not at all; another installation that was faster is as good.
chmod 755 "$work"
mv -T "$work" "$folder" 2>/dev/null || true
trap - EXIT
echo "$folder"
