#!/bin/sh
# Installs what the repository needs, and nothing outside of it:
#   .uv/    a virtual environment that holds one pinned uv
#   .venv/  the packages of uv.lock, by hash
#
#   scripts/bootstrap.sh uv     only .uv/
#   scripts/bootstrap.sh run    what serving needs
#   scripts/bootstrap.sh dev    run, and what tests and checks need
#
# Needs python3 >= 3.11 with its venv module. PYTHON names another interpreter.
# pip's own settings (index, certificates, proxies) are used for both steps.
set -eu

cd "$(dirname "$0")/.."
want=${1:-dev}

fail() {
    printf '\nmianjiao: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '          %s\n' "$line" >&2; done
    exit 1
}

recent_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# `.venv` keeps the interpreter it was made with; a new one gets the first that is recent enough.
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        command -v "$PYTHON" >/dev/null 2>&1 || fail "PYTHON=$PYTHON is not a command."
        recent_enough "$PYTHON" || fail "PYTHON=$PYTHON is older than Python 3.11."
        python=$PYTHON
        return
    fi
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null 2>&1 && recent_enough "$candidate"; then
            python=$candidate
            return
        fi
    done
    if command -v python3 >/dev/null 2>&1; then
        fail "Python 3.11 or newer is needed; python3 is $(python3 -V 2>&1 | cut -d' ' -f2)." \
            "Debian 12 and Ubuntu 24.04 or newer bring one: apt install python3 python3-venv" \
            "With one elsewhere: make PYTHON=/path/to/python3 ..."
    fi
    fail "the system package python3 is missing." "Install it: apt install python3 python3-venv"
}

install_uv() {
    if [ -x .uv/bin/uv ] && cmp -s scripts/uv-requirements.txt .uv/ready; then return; fi
    find_python
    "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        fail "the system package python3-venv is missing (Python's venv and ensurepip modules)." \
            "Install it: apt install python3-venv"
    echo "mianjiao: installing the pinned uv into .uv/"
    rm -rf .uv
    "$python" -m venv .uv || fail "python3 -m venv failed." "Install it: apt install python3-venv"
    .uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
        --only-binary :all: --no-deps --requirement scripts/uv-requirements.txt ||
        fail "pip could not install uv; its own words stand above." \
            "If the package index is not reachable, name another: PIP_INDEX_URL=https://mirror/simple make ..."
    cp scripts/uv-requirements.txt .uv/ready
}

# uv reads its own variables; pip's settings of this machine are handed over where it has none.
pip_setting() {
    .uv/bin/python -m pip config list 2>/dev/null |
        sed -n "s/^\(:env:\|global\|install\|user\|site\)\.$1='\(.*\)'\$/\2/p" | tail -n 1
}

use_pip_settings() {
    certificates=$(pip_setting cert)
    if [ -n "$certificates" ] && [ -z "${SSL_CERT_FILE:-}" ]; then
        SSL_CERT_FILE=$certificates
        export SSL_CERT_FILE
    fi
    index=$(pip_setting index-url)
    if [ -n "$index" ] && [ -z "${UV_DEFAULT_INDEX:-}" ]; then
        UV_DEFAULT_INDEX=$index
        export UV_DEFAULT_INDEX
    fi
}

sync() {
    unset VIRTUAL_ENV
    UV_PYTHON_DOWNLOADS=never
    export UV_PYTHON_DOWNLOADS
    if [ ! -x .venv/bin/python ]; then
        find_python
        UV_PYTHON=$(command -v "$python")
        export UV_PYTHON
    fi
    use_pip_settings
    if [ "$want" = run ]; then groups="--no-dev"; else groups=""; fi
    if [ -n "${UV_DEFAULT_INDEX:-}" ]; then
        # The lock names the files of the public index. A mirror has the same files
        # under other addresses: install the locked versions by their hashes from there.
        [ -x .venv/bin/python ] || .uv/bin/uv venv --quiet .venv
        # shellcheck disable=SC2086
        .uv/bin/uv export --quiet --frozen $groups --no-emit-project >.uv/locked.txt
        .uv/bin/uv pip install --quiet --python .venv/bin/python --require-hashes \
            --compile-bytecode --requirement .uv/locked.txt ||
            fail "uv could not install the locked packages from $UV_DEFAULT_INDEX."
        .uv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --editable .
        return
    fi
    # --inexact: `make run` after `make test` takes nothing away.
    # shellcheck disable=SC2086
    .uv/bin/uv sync --quiet --frozen --inexact $groups ||
        fail "uv could not install the locked packages; its own words stand above." \
            "If the package index is not reachable, name another: PIP_INDEX_URL=https://mirror/simple make ..."
}

case $want in
uv) install_uv ;;
run | dev)
    install_uv
    echo "mianjiao: installing the locked packages into .venv/ ($want)"
    sync
    ;;
*) fail "unknown step '$want': uv, run or dev" ;;
esac
