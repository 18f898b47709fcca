#!/bin/sh
# Makes sure that what building (`build`) or also testing (`test`) needs is on this machine. On Debian what is missing is
# installed, if that is allowed; elsewhere it is listed, and nothing goes on.
set -eu

say() { printf '%s\n' "$*" >&2; }

command -v cargo >/dev/null || {
    say "mod_rustgi is built with Rust 1.85 or later, and there is no cargo on the PATH."
    exit 1
}

# apache2-bin, not apache2: the latter would start a server of its own.
packages="gcc apache2-bin apache2-dev libclang-dev"
[ "$PYTHON" != /usr/bin/python3 ] || packages="$packages python3-dev"
[ "$1" != test ] || packages="$packages curl openssl nghttp2-client python3-venv git litmus valgrind strace libfaketime"

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    missing=
    for program in cc "$APXS" "$PYTHON"; do
        command -v "$program" >/dev/null || missing="$missing $program"
    done
    [ -n "$missing" ] || exit 0
    say "Missing on this machine:$missing"
    say "Please install your system's packages for: a C compiler, httpd 2.4 with its headers and apxs, libclang,"
    say "Python 3.10 or later with its headers and shared library. (On Debian: $packages)"
    exit 1
fi

missing=
for package in $packages; do
    case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) in
        *" installed") ;;
        *) missing="$missing $package" ;;
    esac
done

if [ -n "$missing" ]; then
    as_root=
    if [ "$(id -u)" != 0 ]; then
        as_root=sudo
        command -v sudo >/dev/null || {
            say "Missing Debian packages:$missing"
            say "Please have them installed: apt-get install$missing"
            exit 1
        }
    fi
    say "Installing missing Debian packages:$missing"
    said=$(mktemp)
    trap 'rm -f "$said"' EXIT
    get() {
        $as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 $missing >"$said" 2>&1
    }
    # The lists may be old, or there may be none.
    get || { $as_root apt-get update -qq >&2 && get; } || {
        cat "$said" >&2
        say "The packages could not be installed."
        exit 1
    }
fi

[ -x "$(command -v "$PYTHON")" ] || {
    say "There is no Python at $PYTHON; PYTHON=… names another."
    exit 1
}
