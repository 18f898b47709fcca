"""Who is compared: for each, the programs that serve an application at a place, and how they are configured. Every one
has the threads and processes that its place says, no access log, and connections that are kept alive."""
import collections
import dataclasses
import functools
import typing

import cache
from installation import Missing, httpd, said
from places import THREADS_OF_HTTPD, Place, httpd_config

Program = collections.namedtuple('Program', 'argv')


@dataclasses.dataclass(frozen=True)
class Contender:
    """A way to serve a WSGI application. `kind` is where the application runs: nowhere, in httpd's own processes, in
    daemons of httpd's, behind a proxy, or in a server that clients speak to without httpd."""
    name: str
    kind: str
    programs: typing.Callable[[Place], list[Program]]
    # Whether it answers HTTP/2 over TLS.
    http2: bool = True


def file_at(place, name, text):
    path = place.root / name
    path.write_text(text)
    return path


def run_httpd(place, config):
    how = '-X' if place.one_process else '-DFOREGROUND'
    return Program([httpd(), '-f', file_at(place, 'httpd.conf', config), how])


def floor(place):
    lines = [f'LoadModule floor_module "{cache.floor()}"', 'SetHandler floor']
    return [run_httpd(place, httpd_config(place, [], lines, place.shape.processes, place.shape.threads))]


def wsgi(place, module, daemon, embedded_threads=THREADS_OF_HTTPD):
    """httpd with a module that has mod_wsgi's directives."""
    home = place.home()
    lines = [f'LoadModule wsgi_module "{module}"']
    count = place.shape.applications
    for number in range(1, count):
        lines.append(f'WSGIScriptAlias /app{number} "{place.script}" application-group=app{number}')
    lines.append(f'WSGIScriptAlias / "{place.script}"')
    if not daemon:
        lines += [f'WSGIPythonHome "{home}"', f'WSGIPythonPath "{place.applications}"']
        children, threads = place.shape.processes, place.threads(embedded_threads)
    else:
        lines += [f'WSGIDaemonProcess bench processes={place.shape.processes} threads={place.threads()} '
                  f'python-home="{home}" python-path="{place.applications}" home="{place.root}" {place.shape.daemon_options}',
                  'WSGIProcessGroup bench',
                  f'WSGISocketPrefix "{place.root}/run/wsgi"', 'WSGIRestrictEmbedded On']
        children, threads = place.shape.children, max(THREADS_OF_HTTPD, place.shape.clients if place.shape.threads else 0)
        if children > 1:
            # Clients do not spread evenly over children: each can have twice its share.
            threads = max(THREADS_OF_HTTPD, 2 * place.shape.clients // children)
        if place.one_process:
            threads = place.threads()
    return [run_httpd(place, httpd_config(place, [], lines, children, threads))]


def ours(daemon):
    return lambda place: wsgi(place, place.root / 'module/mod_rustgi.so', daemon)


@functools.cache
def mod_wsgi_of_pypi():
    return said(cache.program('mod_wsgi', 'mod_wsgi-express'), 'module-location')


@functools.cache
def mod_wsgi_of_debian():
    module = cache.debian('libapache2-mod-wsgi-py3', 'usr/lib/apache2/modules/mod_wsgi.so')
    version = said(cache.venv()[0] / 'bin/python', '-c', 'import sys; print("%d.%d" % sys.version_info[:2])')
    if f'libpython{version}.so'.encode() not in module.read_bytes():
        raise Missing(f'libapache2-mod-wsgi-py3 is for another Python than {version}')
    return module


def newest(daemon):
    return lambda place: wsgi(place, mod_wsgi_of_pypi(), daemon)


def debians(daemon):
    return lambda place: wsgi(place, mod_wsgi_of_debian(), daemon)


def gunicorn_at(place, port, tls=False):
    argv = [cache.program('gunicorn', 'gunicorn'), '--bind', f'127.0.0.1:{port}', '--worker-class', 'gthread',
            '--workers', place.shape.processes, '--threads', place.threads(), '--keep-alive', 60,
            '--limit-request-fields', 200, '--worker-tmp-dir', place.root / 'run', '--log-level', 'warning',
            f'{place.application}:application']
    return Program(argv)


def proxied_gunicorn(place):
    lines = [f'ProxyPass / http://127.0.0.1:{place.backend}/']
    front = run_httpd(place, httpd_config(place, ['proxy', 'proxy_http'], lines))
    return [gunicorn_at(place, place.backend), front]


def uwsgi_at(place):
    home = place.home()
    return Program([
        cache.program('uWSGI', 'uwsgi'), '--master', '--die-on-term', '--need-app', '--disable-logging',
        '--processes', place.shape.processes, '--threads', place.threads(), '--thunder-lock',
        '--socket', place.socket, '--chmod-socket=666', '--buffer-size', 65535, '--home', home,
        '--pythonpath', place.applications, '--module', f'{place.application}:application'])


def proxied_uwsgi(place):
    lines = [f'ProxyPass / unix:{place.socket}|uwsgi://uwsgi/']
    front = run_httpd(place, httpd_config(place, ['proxy', 'proxy_uwsgi'], lines))
    return [uwsgi_at(place), front]


NGINX = '''\
daemon off; pid {root}/run/nginx.pid; error_log {root}/logs/error.log warn;
worker_processes 1;
events {{ worker_connections 4096; }}
http {{
    access_log off; sendfile on; keepalive_requests 1000000000; keepalive_timeout 60;
    client_max_body_size 0; client_body_buffer_size 128k; large_client_header_buffers 8 64k;
    client_body_temp_path {root}/run/body; proxy_temp_path {root}/run/proxy; fastcgi_temp_path {root}/run/fastcgi;
    uwsgi_temp_path {root}/run/uwsgi; scgi_temp_path {root}/run/scgi;
    uwsgi_buffer_size 64k; uwsgi_buffers 8 64k; uwsgi_busy_buffers_size 128k;
    server {{
        listen 127.0.0.1:{port}{tls};
        location / {{
            uwsgi_pass unix:{socket};
            {parameters}
        }}
    }}
}}
'''
# As in the file `uwsgi_params` that comes with nginx.
PARAMETERS = ['QUERY_STRING $query_string', 'REQUEST_METHOD $request_method', 'CONTENT_TYPE $content_type',
              'CONTENT_LENGTH $content_length', 'REQUEST_URI $request_uri', 'PATH_INFO $document_uri',
              'DOCUMENT_ROOT $document_root', 'SERVER_PROTOCOL $server_protocol', 'REQUEST_SCHEME $scheme',
              'HTTPS $https if_not_empty', 'REMOTE_ADDR $remote_addr', 'REMOTE_PORT $remote_port',
              'SERVER_PORT $server_port', 'SERVER_NAME $server_name']


def nginx_uwsgi(place):
    tls = ''
    if place.tls:
        certificate, key = cache.certificate()
        tls = f' ssl http2; ssl_certificate {certificate}; ssl_certificate_key {key}'
    parameters = '\n            '.join(f'uwsgi_param {parameter};' for parameter in PARAMETERS)
    text = NGINX.format(root=place.root, port=place.port, socket=place.socket, parameters=parameters, tls=tls)
    front = [cache.debian('nginx', 'usr/sbin/nginx'), '-p', place.root, '-e', place.root / 'logs/error.log',
             '-c', file_at(place, 'nginx.conf', text)]
    return [uwsgi_at(place), Program(front)]


def gunicorn(place):
    return [gunicorn_at(place, place.port)]


def waitress(place):
    return [Program([cache.program('waitress', 'waitress-serve'), f'--listen=127.0.0.1:{place.port}',
                     f'--threads={place.threads()}', '--connection-limit=2000', f'{place.application}:application'])]


def cheroot(place):
    return [Program([cache.program('cheroot', 'cheroot'), '--bind', f'127.0.0.1:{place.port}',
                     '--threads', place.threads(), f'{place.application}:application'])]


def granian(place):
    argv = [cache.program('granian', 'granian'), '--interface', 'wsgi', '--host', '127.0.0.1', '--port', place.port,
            '--workers', place.shape.processes, '--blocking-threads', place.threads(), '--no-ws', '--log-level', 'warning']
    if place.tls:
        certificate, key = cache.certificate()
        argv += ['--ssl-certificate', certificate, '--ssl-keyfile', key]
    return [Program([*argv, f'{place.application}:application'])]


# The two that `make bench` is about come first, and what they are compared with after them.
OURS, OURS_DAEMON = 'mod_rustgi embedded', 'mod_rustgi daemon'
ALL = [
    Contender('floor', 'none', floor),
    Contender(OURS, 'embedded', ours(daemon=False)),
    Contender(OURS_DAEMON, 'daemon', ours(daemon=True)),
    Contender('mod_wsgi 6.1.1 embedded', 'embedded', newest(daemon=False)),
    Contender('mod_wsgi 6.1.1 daemon', 'daemon', newest(daemon=True)),
    Contender('mod_wsgi 4.9 embedded', 'embedded', debians(daemon=False)),
    Contender('mod_wsgi 4.9 daemon', 'daemon', debians(daemon=True)),
    Contender('mod_proxy_http + gunicorn', 'proxy', proxied_gunicorn),
    Contender('mod_proxy_uwsgi + uWSGI', 'proxy', proxied_uwsgi),
    Contender('nginx + uWSGI', 'proxy', nginx_uwsgi),
    Contender('gunicorn', 'direct', gunicorn, http2=False),
    Contender('waitress', 'direct', waitress, http2=False),
    Contender('cheroot', 'direct', cheroot, http2=False),
    Contender('granian', 'direct', granian),
]
FOUR = [OURS, OURS_DAEMON, 'mod_wsgi 6.1.1 embedded', 'mod_wsgi 6.1.1 daemon']
SHORT = [contender for contender in ALL if contender.kind == 'none' or contender.name.startswith('mod_') and
         ('rustgi' in contender.name or '6.1.1' in contender.name)]


def named(names):
    """The contenders whose names hold one of these."""
    return [contender for contender in ALL if not names or any(name in contender.name for name in names)]
