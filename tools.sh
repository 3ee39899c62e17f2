#!/bin/sh
# Makes sure that the programs which relay needs beyond Python packages are there.
#
#   PYTHON=python3 ./tools.sh build   what it is built with: Python's venv module and headers, a C compiler
#   ./tools.sh test                   what its tests use: Chromium for the page, valgrind and clang for the C code,
#                                     nginx and HAProxy for docs/deploy.md
#   ./tools.sh has valgrind           says with its exit code whether that one is there
#
# Each goes by the name of its Debian package. As root on a Debian-like machine, what is missing is installed. Elsewhere
# one line says what is missing and how to get it: building ends there, and the tests that need it are skipped. With
# CI=true that is an error too: there, a skipped test would be a test that nobody ran.
set -u

fuzzer_works() {
    directory=$(mktemp -d) || return 1
    printf 'int LLVMFuzzerTestOneInput(const char *d, long n) { (void)d; (void)n; return 0; }' > "$directory/probe.c"
    clang -fsanitize=fuzzer,address "$directory/probe.c" -o "$directory/probe" 2> /dev/null
    status=$?
    rm -rf "$directory"
    return $status
}

# The compiler that Python builds extensions with, perhaps with options: gcc -pthread
compiler() {
    echo "${CC:-$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_config_var("CC") or "cc")')}"
}

present() {
    case $1 in
        python*-venv) "$PYTHON" -c 'import venv, ensurepip' ;;
        python*-dev) "$PYTHON" -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' ;;
        gcc) $(compiler) --version ;;
        libc6-dev) echo '#include <math.h>' | $(compiler) -fsyntax-only -x c - ;;
        chromium) command -v chromium || command -v chromium-browser || command -v google-chrome ;;
        clang) command -v clang && fuzzer_works ;;
        nginx | haproxy) command -v "$1" || [ -x "/usr/sbin/$1" ] ;;
        *) command -v "$1" ;;
    esac > /dev/null 2>&1
}

install() {
    [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null || return 1
    echo "Installing $1 ..."
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y -qq --no-install-recommends "$1" > /dev/null 2>&1 ||
        { apt-get update -qq > /dev/null && apt-get install -y -qq --no-install-recommends "$1" > /dev/null; }
}

# clang's own run-time library is a package of its own, named after clang's version.
runtime() {
    version=$(clang -dumpversion 2> /dev/null) && echo "libclang-rt-${version%%.*}-dev"
}

# Installs what is missing of these, and sets `missing` to what is missing still.
provide() {
    missing=
    for tool; do
        present "$tool" || install "$tool"
        [ "$tool" != clang ] || present clang || install "$(runtime)"
        present "$tool" || missing="$missing $tool"
    done
}

case ${1:-} in
    has)
        present "$2"
        ;;
    build)
        version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || exit 1
        provide gcc libc6-dev "python$version-dev" "python$version-venv"
        [ -z "$missing" ] && exit 0
        echo "Missing to build relay:$missing. Install with: apt-get install$missing" >&2
        exit 1
        ;;
    test)
        provide chromium valgrind clang nginx haproxy
        [ -z "$missing" ] && exit 0
        echo "Missing for the tests:$missing. Install with: apt-get install$missing (clang with its libclang-rt-*-dev)" >&2
        [ "${CI:-}" != true ] || exit 1
        echo "The tests that need them are skipped." >&2
        ;;
    *)
        echo "usage: $0 build | test | has PROGRAM" >&2
        exit 2
        ;;
esac
