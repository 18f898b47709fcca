"""Where a server runs and what it is to serve: a directory and ports of its own, an application, a shape."""
import dataclasses
import os
import pathlib
import shutil
import socket

import cache
from installation import APPLICATIONS, load_line, module, user

# What every server is given, so that they can be compared.
THREADS_OF_HTTPD = 40
THREADS = 8


@dataclasses.dataclass(frozen=True)
class Shape:
    """How large a server is. `threads` of the processes that run the application: 40 in httpd's, 8 elsewhere."""
    processes: int = 1
    threads: int | None = None
    applications: int = 1
    clients: int = 16
    # Processes of httpd that take requests for daemons.
    children: int = 1
    # The multi-processing module of httpd, and lines of configuration that are otherwise not there.
    mpm: str = 'event'
    lines: tuple = ()
    # More options of daemons.
    daemon_options: str = ''


@dataclasses.dataclass(frozen=True)
class Place:
    """A directory and ports of one server."""
    root: pathlib.Path
    port: int
    backend: int
    application: str
    shape: Shape = Shape()
    tls: bool = False
    one_process: bool = False
    # Whether Python has no packages.
    bare: bool = False

    def threads(self, usual=THREADS):
        return self.shape.threads or usual

    @property
    def script(self):
        return self.applications / f'{self.application}.py'

    @property
    def applications(self):
        return self.root / 'apps'

    @property
    def socket(self):
        return self.root / 'run/backend.sock'

    def environment(self):
        """The environment of a server: that of this program, less what would make Python behave as nowhere else."""
        unwanted = ('PYTHONDONTWRITEBYTECODE', 'PYTHONUNBUFFERED')
        needed = {'PYTHONPATH': str(self.applications), 'FILE': str(cache.file_of(16 << 20))}
        if not self.bare:
            needed['DATABASE'] = str(cache.database())
        return {**{name: value for name, value in os.environ.items() if name not in unwanted}, **needed}

    def home(self):
        """The virtual environment of the applications."""
        return cache.bare_venv() if self.bare else cache.venv()[0]


def make(root, application, **more):
    """A place in a new directory, `root`."""
    root = pathlib.Path(root)
    for name in ('run', 'logs', 'docs', 'module'):
        (root / name).mkdir(parents=True)
    shutil.copytree(APPLICATIONS, root / 'apps', ignore=shutil.ignore_patterns('__pycache__'))
    shutil.copy(module(), root / 'module')
    engines = module().parent / 'rustgi'
    if engines.is_dir():
        shutil.copytree(engines, root / 'module/rustgi')
    for directory, _, files in os.walk(root):
        for path in [directory, *(os.path.join(directory, file) for file in files)]:
            os.chmod(path, 0o755)
            if user():
                os.chown(path, user().pw_uid, user().pw_gid)
    port, backend = free_ports(2)
    return Place(root, port, backend, application, **more)


def free_ports(count):
    """Ports that nobody listens at."""
    sockets = [socket.create_server(('127.0.0.1', 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def httpd_config(place, modules, lines, children=1, threads=None):
    """The configuration of httpd at a place: what all of them have, and `lines`."""
    threads = threads or THREADS_OF_HTTPD
    tls = []
    if place.tls:
        certificate, key = cache.certificate()
        modules = [*modules, 'socache_shmcb', 'ssl', 'http2']
        tls = ['SSLEngine on', f'SSLCertificateFile "{certificate}"', f'SSLCertificateKeyFile "{key}"',
               'SSLSessionCache none', 'Protocols h2 http/1.1']
    loaded = ''.join(load_line(name) for name in (f'mpm_{place.shape.mpm}', 'unixd', 'authz_core', *modules))
    pool = MPM[place.shape.mpm].format(children=children, threads=threads, workers=children * threads, prefork=PREFORK)
    return (loaded + HTTPD.format(root=place.root, port=place.port) + pool
            + '\n'.join([*tls, *lines, *place.shape.lines, '']))


HTTPD = '''\
ServerRoot "{root}"
DefaultRuntimeDir "{root}/run"
PidFile "{root}/run/httpd.pid"
ErrorLog "{root}/logs/error.log"
LogLevel warn
ServerName localhost
Listen 127.0.0.1:{port}
DocumentRoot "{root}/docs"
Timeout 60
KeepAliveTimeout 60
MaxKeepAliveRequests 0
LimitRequestFields 200
<Directory />
    AllowOverride None
    Require all granted
</Directory>
'''
WORKER = '''\
StartServers {children}
ServerLimit {children}
ThreadLimit {threads}
ThreadsPerChild {threads}
MaxRequestWorkers {workers}
MinSpareThreads 1
MaxSpareThreads {workers}
'''
# A process for each of the clients: they keep their connections.
PREFORK = 16
MPM = {
    # A thousand clients at rest are as many connections.
    'event': WORKER + 'AsyncRequestWorkerFactor 64\n',
    'worker': WORKER,
    'prefork': 'StartServers {prefork}\nServerLimit {prefork}\nMaxRequestWorkers {prefork}\n',
}
