#!/bin/sh
# Serves one application with a private httpd, in the foreground: serve.sh APP PORT. Everything that httpd writes is in a
# temporary directory, which is gone when this ends.
set -eu

app=$(realpath -e "$1" 2>/dev/null) || { echo "there is no application $1" >&2; exit 1; }
port=$2
httpd=$("$APXS" -q SBINDIR)/$("$APXS" -q PROGNAME)
modules=$("$APXS" -q LIBEXECDIR)
built=$("$(dirname "$0")/build.sh" --where)

root=$(mktemp -d "${TMPDIR:-/tmp}/rustgi-serve.XXXXXX")
server=
follower=
end() {
    trap '' INT TERM
    if [ -n "$server" ] && kill -TERM "$server" 2>/dev/null; then
        wait "$server" 2>/dev/null || true
    fi
    [ -z "$follower" ] || kill "$follower" 2>/dev/null || true
    rm -rf "$root"
}
trap end EXIT
trap 'echo; exit 0' INT TERM

# The children of httpd open the engine after they have dropped root's privileges, wherever this checkout lies.
chmod 755 "$root"
mkdir "$root/modules" "$root/docs"
cp -R "$built/mod_rustgi.so" "$built/rustgi" "$root/modules/"
chmod -R a+rX "$root/modules"

identity=
if [ "$(id -u)" = 0 ]; then
    for user in www-data apache daemon nobody; do
        if id -u "$user" >/dev/null 2>&1; then break; fi
    done
    identity="User $user
Group $(id -gn "$user")"
    if ! setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups test -r "$app"; then
        size=$(du -sm "$(dirname "$app")" | cut -f 1)
        [ "$size" -le 100 ] || {
            echo "$app cannot be read by $user, whom httpd runs as" >&2
            exit 1
        }
        echo "$user, whom httpd runs as, cannot read $app: serving a copy, which does not see later changes."
        cp -R "$(dirname "$app")" "$root/app"
        chmod -R a+rX "$root/app"
        app=$root/app/$(basename "$app")
    fi
fi

# Modules that this httpd has compiled in need no line.
static=$("$httpd" -l)
load() {
    case $static in *"mod_$1.c"* | *"$1.c"*) return ;; esac
    printf 'LoadModule %s_module "%s/mod_%s.so"\n' "$1" "$modules" "$1"
}
case $static in *event.c* | *worker.c* | *prefork.c*) mpm= ;; *) mpm=$(load mpm_event) ;; esac

cat >"$root/httpd.conf" <<END
ServerRoot "$root"
DefaultRuntimeDir "$root"
PidFile "$root/httpd.pid"
ErrorLog "$root/log"
ErrorLogFormat "%{cu}t %-l %-m: %M"
LogLevel notice wsgi:info
ServerName localhost
Listen 127.0.0.1:$port
DocumentRoot "$root/docs"
$mpm
$(load unixd)
$(load log_config)
$(load authz_core)
LoadModule wsgi_module "$root/modules/mod_rustgi.so"
$identity
StartServers 1
MinSpareThreads 1
MaxSpareThreads 25
ServerLimit 4
ThreadsPerChild 25
MaxRequestWorkers 25
# For who tries it with a file of any size.
LimitRequestBody 0
LogFormat "%h \"%r\" %>s %B bytes %D us" told
CustomLog "$root/log" told
<Directory />
    AllowOverride None
    Require all granted
</Directory>
WSGIPythonPath "$(dirname "$app")"
WSGIScriptAlias / "$app"
WSGIChunkedRequest On
END

: >"$root/log"
tail -f -n +1 "$root/log" &
follower=$!
# Out of reach of the terminal's Ctrl-C, so that it is ended in order, and by us alone.
setsid "$httpd" -f "$root/httpd.conf" -DFOREGROUND &
server=$!

answers() {
    "$PYTHON" - "$port" <<'END'
import http.client, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=60)
try:
    connection.request("GET", "/")
    connection.getresponse()
except ConnectionRefusedError:
    sys.exit(1)
END
}
until [ -f "$root/httpd.pid" ] && answers; do
    kill -0 "$server" 2>/dev/null || { echo "httpd did not start" >&2; exit 1; }
    sleep 0.1
done
echo "http://localhost:$port/ answers; Ctrl-C ends it"
wait "$server"
