#!/bin/sh
# Builds the real MinIO server for tests, once, outside of the repository:
#   ${XDG_CACHE_HOME:-~/.cache}/mianjiao/servers/minio-<version>/minio
#
#   scripts/servers/minio.sh          build it unless it is there; says where
#   scripts/servers/minio.sh --path   only say where; ends with 1 if it is not there
#
# MinIO's community edition is source-only and untagged: the versions are exact
# commits, checked against Go's public checksum database. The first that the
# module proxy gives out is used. Takes 3 to 10 minutes and 2 GB of Go's caches.
set -eu

VERSIONS="v0.0.0-20251015172955-9e49d5e7a648 v0.0.0-20250422221226-0d7408fc9969"
# For a Go too old for MinIO: the Go that builds it, from the same proxy.
TOOLCHAIN=go1.24.2
servers="${XDG_CACHE_HOME:-$HOME/.cache}/mianjiao/servers"

fail() {
    printf '\nmianjiao: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '          %s\n' "$line" >&2; done
    exit 1
}

for version in $VERSIONS; do
    if [ -x "$servers/minio-$version/minio" ]; then
        echo "$servers/minio-$version/minio"
        exit 0
    fi
done
[ "${1:-}" != --path ] || exit 1

command -v go >/dev/null 2>&1 ||
    fail "缺少 Go，无法构建测试用的 MinIO；请先安装：apt install golang-go" \
        "Go is missing, so MinIO for the tests cannot be built. Install it: apt install golang-go"

mkdir -p "$servers"
work=$(mktemp -d "$servers/.building-XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP

# Go before 1.21 cannot fetch a newer Go by itself. It comes as a module all the same;
# only the modes of its programs are lost on the way.
minor=$(go env GOVERSION | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
if [ -n "$minor" ] && [ "$minor" -lt 21 ]; then
    module="golang.org/toolchain@v0.0.1-$TOOLCHAIN.$(go env GOOS)-$(go env GOARCH)"
    echo "mianjiao: fetching $TOOLCHAIN (this Go is 1.$minor)" >&2
    (cd "$work" && GOFLAGS=-modcacherw GOMODCACHE="$work/modules" go mod download "$module") ||
        fail "无法取得 $TOOLCHAIN；请安装 Go 1.24 或更新版本" \
            "$TOOLCHAIN could not be fetched; install Go 1.24 or newer."
    root="$work/modules/$module"
    chmod -R u+x "$root/bin" "$root/pkg/tool"
    PATH="$root/bin:$PATH"
    export GOROOT="$root" PATH
fi

for version in $VERSIONS; do
    echo "mianjiao: building MinIO $version (some minutes, once)" >&2
    mkdir -p "$work/minio-$version"
    if GOBIN="$work/minio-$version" CGO_ENABLED=0 nice go install -trimpath \
        "github.com/minio/minio@$version" 2>"$work/log"; then
        # Whole or not at all; another build that was faster is as good.
        mv -T "$work/minio-$version" "$servers/minio-$version" 2>/dev/null || true
        echo "$servers/minio-$version/minio"
        exit 0
    fi
    tail -n 5 "$work/log" >&2
done
fail "MinIO 构建失败，原因见上；请检查网络与 Go 模块代理（go env GOPROXY）" \
    "MinIO could not be built; the reason stands above. Check the network and the Go" \
    "module proxy (go env GOPROXY)."
