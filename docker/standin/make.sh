#!/bin/sh
# Makes stand-ins for the official images debian:trixie-slim and httpd:2.4, for machines that can reach a Debian
# mirror and no registry of images. The layout, the packages and the configuration are the official ones; the
# httpd is Debian 13's source archive (upstream's own, unpatched), built as the official image builds it.
#
#   docker/standin/make.sh          prints the name of the httpd stand-in on its last line
#
# The result is kept in ${XDG_CACHE_HOME:-/var/cache}/mod_rustgi under a name made from these recipes, so a second
# run only loads it. Wants root, buildah and debootstrap. DEBIAN_MIRROR and SECURITY_MIRROR name other mirrors.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-/var/cache}/mod_rustgi
# The mirrors that this machine's own apt uses.
apt_uses() { apt-get indextargets --format '$(REPO_URI)' | sed 's,/*$,,' | grep -m1 "$1"; }
mirror=${DEBIAN_MIRROR:-$(apt_uses '/debian$' || true)}
security=${SECURITY_MIRROR:-$(apt_uses '/debian-security$' || true)}
[ -n "$mirror" ] && [ -n "$security" ] || {
    echo "standin: apt names no mirror of Debian and its security updates; give DEBIAN_MIRROR and SECURITY_MIRROR" >&2
    exit 1
}
recipe=$(cat "$here/make.sh" "$here/slim.sh" "$here/httpd.Dockerfile" "$here/httpd-foreground" | sha256sum | cut -c1-12)
debian=localhost/standin/debian:trixie-slim-$recipe
httpd=localhost/standin/httpd:2.4-$recipe

say() { echo "standin: $*" >&2; }

have() { buildah inspect --type image "$1" >/dev/null 2>&1; }

make_debian() {
    say "debootstrap of Debian 13"
    root=$(mktemp -d)
    trap 'rm -rf --one-file-system "$root"' EXIT
    debootstrap --variant=minbase trixie "$root" "$mirror" >&2
    MIRROR=$mirror SECURITY=$security sh "$here/slim.sh" "$root"
    container=$(buildah from scratch)
    buildah add -q "$container" "$root" / >&2
    buildah config --cmd bash --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
    buildah commit -q --rm "$container" "$debian" >&2
    rm -rf --one-file-system "$root"
    trap - EXIT
}

make_httpd() {
    say "httpd 2.4 out of Debian's source archive (some minutes)"
    buildah bud --isolation chroot --network host --build-arg "DEBIAN_IMAGE=$debian" \
        -f "$here/httpd.Dockerfile" -t "$httpd" "$here" >&2
}

if ! have "$httpd"; then
    kept=$cache/httpd-$recipe.tar
    if [ ! -f "$kept" ]; then
        have "$debian" || make_debian
        make_httpd
        mkdir -p "$cache"
        buildah push -q "$httpd" "oci-archive:$kept.new:$httpd" >&2
        mv "$kept.new" "$kept"
    else
        say "loading $kept"
        buildah pull -q "oci-archive:$kept" >&2
    fi
fi
echo "$httpd"
