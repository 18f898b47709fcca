#!/bin/sh
# Installs what `make module` built where httpd looks for modules, under $DESTDIR if that is set; `--undo` removes it.
set -eu

modules=$DESTDIR$("$APXS" -q LIBEXECDIR)
if [ "${1-}" = --undo ]; then
    rm -f "$modules/mod_rustgi.so" "$modules/rustgi/rustgi" "$modules"/rustgi/_rustgi.*.so
    [ ! -d "$modules/rustgi" ] || rmdir "$modules/rustgi"
    exit
fi

built=$("$(dirname "$0")/build.sh" --where)
[ -f "$built/mod_rustgi.so" ] || {
    echo "nothing is built yet: \`make module\` comes first" >&2
    exit 1
}
install -d "$modules/rustgi"
install -m 644 "$built/mod_rustgi.so" "$modules/"
install -m 755 "$built/rustgi/rustgi" "$modules/rustgi/"
install -m 644 "$built"/rustgi/_rustgi.*.so "$modules/rustgi/"

cat <<END
Installed to $modules. To load it:

    LoadModule wsgi_module ${modules#"$DESTDIR"}/mod_rustgi.so
END
