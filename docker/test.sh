#!/bin/sh
# Builds the image and uses it as its users do. Ends with 0; with 1 and a line that begins with FAILED; or with 77 and a
# line `SKIPPED: why` where it cannot be done.
#
# Wants root, buildah and podman. The base is HTTPD_IMAGE if that is set; else a stand-in for httpd:2.4 is made out of
# Debian's packages (see standin/make.sh), which wants debootstrap. What a build needs of this machine goes in from
# outside: its certificates, and the user's cargo configuration. BUILD_OPTIONS may hold more options for buildah.
set -eu

cd "$(dirname "$0")/.."

skip() { echo "SKIPPED: $*"; exit 77; }
say() { echo "== $*"; }

for program in buildah podman; do
    command -v $program >/dev/null || skip "$program is not installed"
done
[ "$(id -u)" = 0 ] || skip "images are built by root only (chroot isolation)"
[ -n "${HTTPD_IMAGE-}" ] || command -v debootstrap >/dev/null ||
    skip "debootstrap is not installed, and HTTPD_IMAGE names no base image"

work=$(mktemp -d "${TMPDIR:-/tmp}/rustgi-image.XXXXXX")
tag=test-$$
image=localhost/mod_rustgi:$tag
notebook=localhost/mod_rustgi-notebook:$tag
single=localhost/mod_rustgi-single:$tag
containers=

end() {
    status=$?
    trap '' INT TERM
    for container in $containers; do podman rm -f -t 0 "$container" >/dev/null 2>&1 || true; done
    podman rmi -f "$single" "$notebook" "$image" >/dev/null 2>&1 || true
    rm -rf "$work"
    exit $status
}
trap end EXIT
trap 'exit 1' INT TERM

fail() {
    echo "FAILED: $*"
    for container in $containers; do
        echo "-- log of $container"
        podman logs "$container" 2>&1 | tail -n 40
    done
    exit 1
}

# --- what a user of the image does ------------------------------------------------------------------------------------

certificates=/etc/ssl/certs/ca-certificates.crt
cargo_config=${CARGO_HOME:-$HOME/.cargo}/config.toml

# build NAME OPTION… CONTEXT
build() {
    name=$1
    shift
    # shellcheck disable=SC2086
    buildah bud --isolation chroot --network host ${BUILD_OPTIONS-} -t "$name" "$@" >"$work/build.log" 2>&1 || {
        tail -n 60 "$work/build.log"
        fail "$name could not be built"
    }
}

# run NAME OPTION… IMAGE: starts a container on a port of 127.0.0.1, and waits until it answers.
run() {
    container=$1-$tag
    shift
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    site=http://127.0.0.1:$port
    containers="$containers $container"
    # shellcheck disable=SC2086
    podman $runtime run -d --name "$container" --network host --ulimit nproc=1000:1000 --ulimit nofile=1000:4000 \
        -e "PORT=127.0.0.1:$port" "$@" >/dev/null || fail "$container did not start"
    answers
}

# Until httpd accepts connections, for 30 seconds.
answers() {
    tries=0
    until curl -s -o /dev/null "$site/"; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || fail "$container does not answer"
        sleep 0.1
    done
}

get() { curl -sS --max-time 30 "$@"; }

# expect WHAT TEXT FILE: the file has the text somewhere.
expect() { grep -qF -e "$2" "$3" || { cat "$3"; fail "$1: no «$2»"; }; }

# Nothing in a container's log that tells of a process that died instead of ending.
no_crash() {
    podman logs "$container" >"$work/stdout" 2>"$work/stderr"
    ! grep -E 'exit signal|AH0005[0-2]|Segmentation|core dump|panicked|Fatal Python error|SIGKILL|still did not exit' \
        "$work/stderr" || fail "$container has crash lines in its log"
}

# stop SECONDS: ends the container as an orchestrator does, with the image's own signal, and looks at how it went.
stop() {
    began=$(date +%s%N)
    podman stop -t "$1" "$container" >/dev/null
    took=$((($(date +%s%N) - began) / 1000000))
    code=$(podman inspect --format '{{.State.ExitCode}}' "$container")
    [ "$code" = 0 ] || fail "$container ended with $code instead of 0"
    [ $took -lt $(($1 * 1000)) ] || fail "$container was killed after $1 s"
    no_crash
    expect "log of $container" "AH00492: caught SIGWINCH, shutting down gracefully" "$work/stderr"
    say "$container stopped after $took ms"
}

remove() {
    podman rm -f -t 0 "$container" >/dev/null
    containers=${containers% "$container"}
}

# Bytes of all layers, compressed as a registry keeps them.
compressed() {
    rm -rf "$work/oci"
    buildah push -q "$1" "oci:$work/oci:x" >/dev/null
    cat "$work"/oci/blobs/sha256/* | wc -c
    rm -rf "$work/oci"
}

megabytes() { awk "BEGIN { printf \"%.1f MB\", $1 / 1000000 }"; }

# --- the image --------------------------------------------------------------------------------------------------------

# podman's own choice, crun, is not on every machine that has podman.
runtime=
if ! command -v crun >/dev/null && command -v runc >/dev/null; then runtime="--runtime runc"; fi

base=${HTTPD_IMAGE:-$(docker/standin/make.sh)} || fail "no stand-in for httpd:2.4"
say "base image $base"

began=$(date +%s)
secrets="--secret id=ca-certificates,src=$certificates"
[ ! -f "$cargo_config" ] || secrets="$secrets --secret id=cargo-config,src=$cargo_config"
# shellcheck disable=SC2086
build "$image" $secrets --build-arg "HTTPD_IMAGE=$base" -f docker/Dockerfile .
say "image built in $(($(date +%s) - began)) s"

before=$(podman image inspect --format '{{.Size}}' "$base")
after=$(podman image inspect --format '{{.Size}}' "$image")
say "unpacked: $(megabytes "$after"), of which httpd: $(megabytes "$before")"
before_packed=$(compressed "$base")
after_packed=$(compressed "$image")
say "compressed: $(megabytes "$after_packed"), of which httpd: $(megabytes "$before_packed")"
[ $((after - before)) -lt 120000000 ] || fail "the image adds $(megabytes $((after - before))) to httpd's"
[ "$(podman image inspect --format '{{index .Config.StopSignal}}' "$image")" = SIGWINCH ] || fail "wrong stop signal"

run bare "$image"
say "the bare image"
get "$site/" >"$work/page"
expect "page of the bare image" "It works!" "$work/page"
for program in cc gcc clang rustc cargo make; do
    ! podman exec "$container" sh -c "command -v $program" || fail "$program is in the image"
done
processes=$(podman exec "$container" sh -c 'for p in /proc/[0-9]*; do
    if [ "$(cat $p/comm 2>/dev/null)" = httpd ]; then stat -c %U $p; fi
done' | sort | uniq -c | tr -s ' \n' ' ')
case $processes in *" 1 root "*www-data*) ;; *) fail "httpd runs as:$processes" ;; esac
podman exec "$container" python3 -c "
import urllib.request
urllib.request.urlopen('$site/', timeout=5)" || fail "the health check that README.md gives does not work"
podman logs "$container" >"$work/stdout" 2>"$work/stderr"
expect "log of the bare image" " mod_rustgi/" "$work/stderr"
podman kill -s KILL "$container" >/dev/null
podman wait "$container" >/dev/null
# shellcheck disable=SC2086
podman $runtime start "$container" >/dev/null
answers
say "it starts again after it was killed"
stop 10
remove

say "as another user than root, without a capability, on file systems that cannot be written"
run user --user 12345:12345 --cap-drop all --security-opt no-new-privileges --read-only \
    --tmpfs /tmp --tmpfs /usr/local/apache2/logs "$image"
get "$site/" >"$work/page"
expect "page of the bare image" "It works!" "$work/page"
stop 10
remove

# --- one file ---------------------------------------------------------------------------------------------------------

say "an image of one file"
mkdir "$work/single"
cat >"$work/single/app.wsgi" <<'END'
import sys
import mod_wsgi

def application(environ, start_response):
    print("heard", environ["PATH_INFO"], file=environ["wsgi.errors"])
    body = f"{sys.prefix} {mod_wsgi.process_group!r} {mod_wsgi.application_group!r} {environ['wsgi.multithread']}\n"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body.encode()]
END
printf 'FROM %s\nCOPY app.wsgi .\n' "$image" >"$work/single/Dockerfile"
build "$single" "$work/single"
run single "$single"
get "$site/a%20b" >"$work/page"
expect "page of the single file" "/opt/venv '' '' True" "$work/page"
podman logs "$container" >"$work/stdout" 2>"$work/stderr"
expect "standard error" "[script /var/www/app.wsgi] heard /a b" "$work/stderr"
expect "standard output" '"GET /a%20b HTTP/1.1" 200' "$work/stdout"
stop 10
remove

# --- a Django site ----------------------------------------------------------------------------------------------------

say "a Django site"
build "$notebook" -v /etc/ssl/certs:/etc/ssl/certs:ro --build-arg "MOD_RUSTGI_IMAGE=$image" docker/example/django
run notebook "$notebook"
get -c "$work/jar" "$site/" >"$work/page"
expect "Django's page" "<footer>Django 5.2" "$work/page"
token=$(sed -n 's/.*name="csrfmiddlewaretoken" value="\([^"]*\)".*/\1/p' "$work/page")
get -L -b "$work/jar" -d "csrfmiddlewaretoken=$token" --data-urlencode "text=Grüße aus dem Test" "$site/" >"$work/page"
expect "Django's page after a form" "<li>Grüße aus dem Test" "$work/page"
[ "$(get -o /dev/null -w '%{http_code}' -d 'text=forged' "$site/")" = 403 ] || fail "a forged form was taken"
get "$site/static/notes.css" | cmp -s - docker/example/django/notebook/static/notes.css || fail "the style sheet is not served"
podman logs "$container" >"$work/stdout" 2>"$work/stderr"
expect "standard output" '"POST / HTTP/1.1" 302' "$work/stdout"
expect "standard error" "note 1 was written" "$work/stderr"

say "a configuration that is read again while a request is under way"
get "$site/wait/2" >"$work/page" &
waiting=$!
sleep 1
podman kill -s USR1 "$container" >/dev/null
wait $waiting || fail "the request under way was cut off"
expect "the page under way" "waited 2 s" "$work/page"
get "$site/" >"$work/page"
expect "Django's page after the restart" "<li>Grüße aus dem Test" "$work/page"
no_crash
expect "log of $container" "AH00493: SIGUSR1 received.  Doing graceful restart" "$work/stderr"

say "a request that is under way when the container is stopped"
get "$site/wait/3" >"$work/page" &
waiting=$!
sleep 1
stop 10
wait $waiting || fail "the request under way was cut off"
expect "the page under way" "waited 3 s" "$work/page"
[ $took -ge 1000 ] || fail "httpd did not wait for the request"
remove

echo "PASSED"
