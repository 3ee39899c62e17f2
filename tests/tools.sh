#!/bin/sh
# Makes sure that the programs which the tests use are there: Chromium for the page, valgrind and clang for the C code.
#
#   tests/tools.sh            installs what is missing, where it may (root, on a Debian-like machine)
#   tests/tools.sh valgrind   says with its exit code whether that one is there
#
# Where it may not install, it says what is missing and how to get it; the tests that need it are then skipped. With
# CI=true a missing program is an error: there, a skipped test would be a test that nobody ran.
set -u

fuzzer_works() {
    directory=$(mktemp -d) || return 1
    printf 'int LLVMFuzzerTestOneInput(const char *d, long n) { (void)d; (void)n; return 0; }' > "$directory/probe.c"
    clang -fsanitize=fuzzer,address "$directory/probe.c" -o "$directory/probe" 2> /dev/null
    status=$?
    rm -rf "$directory"
    return $status
}

present() {
    case $1 in
        chromium) command -v chromium || command -v chromium-browser || command -v google-chrome ;;
        clang) command -v clang && fuzzer_works ;;
        *) command -v "$1" ;;
    esac > /dev/null 2>&1
}

install() {
    [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null || return 1
    echo "Installing $1 for the tests ..."
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y -qq --no-install-recommends "$1" > /dev/null 2>&1 ||
        { apt-get update -qq > /dev/null && apt-get install -y -qq --no-install-recommends "$1" > /dev/null; }
}

# clang's own run-time library is a package of its own, named after clang's version.
runtime() {
    version=$(clang -dumpversion 2> /dev/null) && echo "libclang-rt-${version%%.*}-dev"
}

if [ $# = 1 ]; then
    present "$1"
    exit
fi

missing=
for tool in chromium valgrind clang; do
    present "$tool" || install "$tool"
    [ "$tool" != clang ] || present clang || install "$(runtime)"
    present "$tool" || missing="$missing $tool"
done

[ -z "$missing" ] && exit 0
echo "Missing for the tests:$missing. Install with: apt-get install$missing (clang with its libclang-rt-*-dev)" >&2
[ "${CI:-}" != true ] || exit 1
echo "The tests that need them are skipped." >&2
