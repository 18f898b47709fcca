#!/bin/sh
# Turns a debootstrap tree into what debian:*-slim is: no documentation, no manual pages, no translations, now and
# for packages installed later; no package caches; the three usual suites.
set -eu
root=$1

kinds="/usr/share/doc /usr/share/info /usr/share/linda /usr/share/lintian/overrides /usr/share/locale /usr/share/man"
{
    for kind in $kinds; do echo "path-exclude $kind/*"; done
    echo "path-include /usr/share/doc/*/copyright"
} > "$root/etc/dpkg/dpkg.cfg.d/docker"
find "$root/usr/share/doc" \( -type f -o -type l \) ! -name copyright -delete
find "$root/usr/share/doc" -depth -type d -empty -delete
for kind in info lintian/overrides locale man; do
    [ ! -d "$root/usr/share/$kind" ] || find "$root/usr/share/$kind" -mindepth 1 -delete
done

cat > "$root/etc/apt/apt.conf.d/docker" <<'CONF'
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
APT::Update::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Acquire::Languages "none";
Acquire::GzipIndexes "true";
APT::AutoRemove::SuggestsImportant "false";
CONF
rm -f "$root/etc/apt/sources.list"
cat > "$root/etc/apt/sources.list.d/debian.sources" <<CONF
Types: deb
URIs: $MIRROR
Suites: trixie trixie-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: $SECURITY
Suites: trixie-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
CONF
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/*.log "$root"/var/log/apt/* \
    "$root"/var/cache/ldconfig/* "$root"/var/cache/debconf/*-old "$root"/var/lib/dpkg/*-old
: > "$root/etc/resolv.conf"
echo localhost > "$root/etc/hostname"
