#!/bin/sh
# Builds the proxy that docker-compose.yml names (nginx 1.28), once, outside of the repository:
#   ${XDG_CACHE_HOME:-~/.cache}/mianjiao/servers/nginx-<version>/nginx
#
#   scripts/servers/nginx.sh          build it unless it is there; says where
#   scripts/servers/nginx.sh --path   only say where; ends with 1 if it is not there
#
# Debian's nginx is older than 1.27.3 and cannot follow containers that are made anew
# (`resolve` in operations/nginx/nginx.conf). The source is the crate that nginx publishes,
# by hash. Takes a minute. Where cargo or a library is missing it says so and ends with 0:
# the system's nginx does for everything but that line.
set -eu

VERSION=1.28.5+1.28.3
SHA256=60c9192630560c017a18e1da5b4c5de9d78450923f17325752c6f0f7f3911c86
servers="${XDG_CACHE_HOME:-$HOME/.cache}/mianjiao/servers"
folder="$servers/nginx-${VERSION#*+}"

if [ -x "$folder/nginx" ]; then
    echo "$folder/nginx"
    exit 0
fi
[ "${1:-}" != --path ] || exit 1

without() {
    printf 'mianjiao: 未构建 nginx %s，将使用系统自带的：缺少 %s\n' "${VERSION#*+}" "$1" >&2
    printf 'mianjiao: nginx %s is not built, the system'"'"'s is used: %s is missing\n' "${VERSION#*+}" "$1" >&2
    exit 0
}

fail() {
    printf '\nmianjiao: %s\n          %s\n' "$1" "$2" >&2
    exit 1
}

cargo info --help >/dev/null 2>&1 || without "cargo >= 1.82"
command -v cc >/dev/null 2>&1 || without "gcc"
for header in pcre2.h openssl/ssl.h; do
    printf '#define PCRE2_CODE_UNIT_WIDTH 8\n#include <%s>\n' "$header" | cc -E - >/dev/null 2>&1 ||
        without "$header (apt install libpcre2-dev libssl-dev)"
done

mkdir -p "$servers"
work=$(mktemp -d "$servers/.building-XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP

echo "mianjiao: building nginx ${VERSION#*+} (a minute, once)" >&2
# Fetches the crate and nothing else; what is compiled is chosen by its hash.
(cd "$work" && cargo info "nginx-src@${VERSION%+*}" >log 2>&1) || {
    tail -n 5 "$work/log" >&2
    fail "cargo 无法取得 nginx 源码，原因见上" "cargo could not fetch nginx's source; the reason stands above."
}
crate=
for found in "${CARGO_HOME:-$HOME/.cargo}"/registry/cache/*/"nginx-src-$VERSION.crate"; do
    if echo "$SHA256  $found" | sha256sum --check --status 2>/dev/null; then crate=$found; fi
done
[ -n "$crate" ] || fail "nginx 源码的哈希不符" "nginx's source does not have the hash that it must have."
tar -xzf "$crate" -C "$work"
mkdir "$work/built"
if ! (cd "$work/nginx-src-$VERSION/nginx" &&
    ./auto/configure --with-http_ssl_module --with-http_v2_module --without-http_gzip_module &&
    nice make -j2 && cp objs/nginx "$work/built/nginx") >"$work/log" 2>&1; then
    tail -n 5 "$work/log" >&2
    fail "nginx 构建失败，原因见上" "nginx could not be built; the reason stands above."
fi
# Whole or not at all; another build that was faster is as good.
mv -T "$work/built" "$folder" 2>/dev/null || true
echo "$folder/nginx"
