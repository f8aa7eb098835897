# Sourced by the scripts here that build a program from its Go module, once, outside of the
# repository:
#   ${XDG_CACHE_HOME:-~/.cache}/mianjiao/servers/<name>-<version>/<program>

# For a Go that is too old for the modules: the Go that builds them, from the same proxy.
TOOLCHAIN=go1.24.2
servers="${XDG_CACHE_HOME:-$HOME/.cache}/mianjiao/servers"

fail() {
    printf '\nmianjiao: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '          %s\n' "$line" >&2; done
    exit 1
}

# build NAME PACKAGE "VERSIONS" [--path]: says where the program is, and builds it unless it is
# there. Versions are exact, checked against Go's public checksum database; the first that the
# module proxy gives out is used. With --path it ends with 1 where nothing was built.
build() {
    name=$1 package=$2 versions=$3 only=${4:-}
    program=${package##*/}
    for version in $versions; do
        if [ -x "$servers/$name-$version/$program" ]; then
            echo "$servers/$name-$version/$program"
            exit 0
        fi
    done
    [ "$only" != --path ] || exit 1

    command -v go >/dev/null 2>&1 ||
        fail "缺少 Go，无法构建测试用的 $name；请先安装：apt install golang-go" \
            "Go is missing, so $name for the tests cannot be built. Install it: apt install golang-go"

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

    for version in $versions; do
        echo "mianjiao: building $name $version (once, up to ten minutes)" >&2
        mkdir -p "$work/$name-$version"
        if GOBIN="$work/$name-$version" CGO_ENABLED=0 nice go install -trimpath \
            "$package@$version" 2>"$work/log"; then
            # Whole or not at all; another build that was faster is as good.
            mv -T "$work/$name-$version" "$servers/$name-$version" 2>/dev/null || true
            echo "$servers/$name-$version/$program"
            exit 0
        fi
        tail -n 5 "$work/log" >&2
    done
    fail "$name 构建失败，原因见上；请检查网络与 Go 模块代理（go env GOPROXY）" \
        "$name could not be built; the reason stands above. Check the network and the Go" \
        "module proxy (go env GOPROXY)."
}
