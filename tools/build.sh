#!/bin/sh
# Builds the httpd module, the program that looks after workers, and the engine for $PYTHON, and lays them out as they are
# installed:
#
#     target/release/mod_rustgi.so
#     target/release/rustgi/rustgi
#     target/release/rustgi/_rustgi.cpython-311-x86_64-linux-gnu.so
#
# Engines for several Pythons lie beside each other, and each has a target directory of its own, so that building for one
# neither destroys nor rebuilds the other. `--where` only says where they are.
set -eu

target=${CARGO_TARGET_DIR:-target}
results=$target/release
case $results in /*) ;; *) results=$(pwd)/$results ;; esac
if [ "${1-}" = --where ]; then
    printf '%s\n' "$results"
    exit
fi

suffix=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
abi=${suffix#.}
engines=$target/engine-${abi%.so}
programs=$target/program

# The directory in which `rustgi ctl` looks for the supervisor.
RUSTGI_RUNTIME_DIRECTORY=$("${APXS:-apxs}" -q runtimedir 2>/dev/null || :)
[ -n "$RUSTGI_RUNTIME_DIRECTORY" ] && export RUSTGI_RUNTIME_DIRECTORY

cargo build --release --package mod_rustgi
# Elsewhere: where its file would lie, the directory of the layout lies.
cargo build --release --package rustgi --target-dir "$programs"
cargo build --release --package rustgi-engine --target-dir "$engines"

# Under a new name first: a running httpd may have the old file mapped.
place() { cp "$1" "$2.new" && mv "$2.new" "$2"; }
mkdir -p "$results/rustgi"
place "$results/libmod_rustgi.so" "$results/mod_rustgi.so"
place "$programs/release/rustgi" "$results/rustgi/rustgi"
place "$engines/release/lib_rustgi.so" "$results/rustgi/_rustgi$suffix"

printf '%s\n' "$results/mod_rustgi.so" "$results/rustgi/rustgi" "$results/rustgi/_rustgi$suffix"
