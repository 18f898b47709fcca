# Stands in for the official httpd:2.4: same prefix, same configure options, same edits of the configuration, same
# packages left at the end. Only where the source comes from differs: Debian's archive of upstream's release (of the
# main suite, since not every mirror of the security suite carries sources).
ARG DEBIAN_IMAGE
FROM ${DEBIAN_IMAGE}

ENV HTTPD_PREFIX=/usr/local/apache2
ENV PATH=/usr/local/apache2/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN mkdir -p "$HTTPD_PREFIX" && chown www-data:www-data "$HTTPD_PREFIX"
WORKDIR $HTTPD_PREFIX

RUN set -eux; \
    apt-get update; \
    apt-get upgrade -y; \
    apt-get install -y --no-install-recommends ca-certificates libaprutil1-ldap libldap-common; \
    rm -rf /var/lib/apt/lists/*

RUN set -eux; \
    savedAptMark="$(apt-mark showmanual)"; \
    sed 's/^Types: deb$/Types: deb-src/;/^$/,$d' /etc/apt/sources.list.d/debian.sources \
        > /etc/apt/sources.list.d/source.sources; \
    apt-get update; \
    apt-get install -y --no-install-recommends \
        bzip2 dpkg-dev gcc libapr1-dev libaprutil1-dev libbrotli-dev libcurl4-openssl-dev libjansson-dev \
        liblua5.2-dev libnghttp2-dev libpcre2-dev libssl-dev libxml2-dev make zlib1g-dev; \
    mkdir -p /usr/src/httpd; \
    cd /usr/src; \
    apt-get source --download-only apache2; \
    tar -xf apache2_*.orig.tar.gz -C httpd --strip-components=1; \
    cd httpd; \
    ./configure \
        --build="$(dpkg-architecture --query DEB_BUILD_GNU_TYPE)" \
        --prefix="$HTTPD_PREFIX" \
        --enable-mods-shared=reallyall \
        --enable-mpms-shared=all \
        --enable-pie \
        CFLAGS="-pipe $(dpkg-buildflags --get CFLAGS)" \
        CPPFLAGS="$(dpkg-buildflags --get CPPFLAGS)" \
        LDFLAGS="-Wl,--as-needed $(dpkg-buildflags --get LDFLAGS)"; \
    make -j "$(nproc)"; \
    make install; \
    cd "$HTTPD_PREFIX"; \
    rm -r /usr/src/* man manual; \
    sed -ri \
        -e 's!^(\s*CustomLog)\s+\S+!\1 /proc/self/fd/1!g' \
        -e 's!^(\s*ErrorLog)\s+\S+!\1 /proc/self/fd/2!g' \
        -e 's!^(\s*TransferLog)\s+\S+!\1 /proc/self/fd/1!g' \
        -e 's!^(\s*User)\s+daemon\s*$!\1 www-data!g' \
        -e 's!^(\s*Group)\s+daemon\s*$!\1 www-data!g' \
        conf/httpd.conf conf/extra/httpd-ssl.conf; \
    apt-mark auto '.*' > /dev/null; \
    apt-mark manual $savedAptMark; \
    find /usr/local -type f -executable -exec ldd '{}' ';' \
        | awk '/=>/ { so = $(NF-1); gsub("^/(usr/)?", "", so); printf "*%s\n", so }' \
        | sort -u | xargs -r dpkg-query --search | cut -d: -f1 | sort -u | xargs -r apt-mark manual; \
    apt-get purge -y --auto-remove -o APT::AutoRemove::RecommendsImportant=false; \
    rm -rf /etc/apt/sources.list.d/source.sources /var/lib/apt/lists/*; \
    httpd -v

STOPSIGNAL SIGWINCH
COPY httpd-foreground /usr/local/bin/
EXPOSE 80
CMD ["httpd-foreground"]
