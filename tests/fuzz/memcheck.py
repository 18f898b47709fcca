#!/usr/bin/env python3
"""Runs httpd with the module under valgrind's memcheck, 200 requests and then 1,200 of the same mixture, and compares.

    python3 tests/fuzz/memcheck.py target/release/mod_rustgi.so

What is lost for each child or interpreter is the same in both runs; what is lost for each request is not. Fails if
anything grows, or if memcheck finds an error that a bare Python in a C program does not make. Needs valgrind, apxs and, for
root, setpriv: httpd runs as an ordinary user from its start.
"""
import collections
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
USER = 'www-data'
FEW, MANY = 200, 1200

CONFIG = '''
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {root}/run/pid
DefaultRuntimeDir {root}/run
DocumentRoot {root}/docs
ErrorLog {root}/logs/error.log
LogLevel notice wsgi:info
{modules}
LoadModule wsgi_module {module}
ThreadsPerChild 2
ThreadLimit 2
StartServers 1
ServerLimit 1
MaxRequestWorkers 2
Timeout 60
<Directory {root}>
    Require all granted
</Directory>
WSGIChunkedRequest On
WSGIScriptAlias /alone {root}/app.wsgi application-group=alone
WSGIScriptAlias / {root}/app.wsgi application-group=%{{GLOBAL}}
<Location /auth>
    AuthType Basic
    AuthName x
    AuthBasicProvider wsgi
    WSGIAuthUserScript {root}/app.wsgi
    Require valid-user
</Location>
'''
MODULES = ['mpm_event', 'authz_core', 'authn_core', 'auth_basic', 'authz_user']


def request(method, path, headers=b'', body=b''):
    return b'%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n%s' % (method, path, headers, body)


def get(path, headers=b''):
    return request(b'GET', path, headers)


def post(path, cut=0):
    body = b''.join(b'line %d of it\n' % line for line in range(120))
    whole = request(b'POST', path, b'Content-Length: %d\r\n' % len(body), body)
    return whole[:len(whole) - cut]


def chunks(path, body=b'5\r\nabc\nd\r\n3\r\n\nxy\r\n0\r\n\r\n'):
    return request(b'POST', path, b'Transfer-Encoding: chunked\r\n', body)


# Everything the application of `memcheck.wsgi` can do, and what may go wrong before it and below it.
MIXTURE = [
    get(b'/get?a=b', b'X-One: 1\r\nCookie: a=b\r\nX_Bad: 3\r\n'), request(b'HEAD', b'/get'), post(b'/get'),
    post(b'/read'), chunks(b'/read'), post(b'/pieces'), post(b'/lines'), chunks(b'/lines'), post(b'/iterate'),
    get(b'/generator'), get(b'/closing'), get(b'/file'), get(b'/file', b'Range: bytes=5-99\r\n'), get(b'/memory'),
    get(b'/raise'), get(b'/middle'), get(b'/exc_info'), get(b'/write'), get(b'/exit'), get(b'/errors'),
    get(b'/status'), get(b'/header'), get(b'/types'), get(b'/never'), get(b'/text'), get(b'/none'), get(b'/nowhere'),
    get(b'/get').replace(b'Connection: close\r\n', b'') + get(b'/generator'),
    post(b'/read', cut=100), chunks(b'/read', b'5\r\nabc\nd\r\nnonsense\r\n'),
    get(b'/alone/get'), get(b'/auth/get'), get(b'/auth/get', b'Authorization: Basic em86c2VjcmV0\r\n'),
]


def apxs(variable):
    return subprocess.check_output(['apxs', '-q', variable], text=True).strip()


def free_port():
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        return found.getsockname()[1]


def lay_out(root, module):
    for name in ('run', 'logs', 'docs', 'module/rustgi'):
        os.makedirs(f'{root}/{name}')
    shutil.copy(module, f'{root}/module/mod_rustgi.so')
    engines = os.path.join(os.path.dirname(os.path.abspath(module)), 'rustgi')
    shutil.copytree(engines, f'{root}/module/rustgi', dirs_exist_ok=True)
    shutil.copy(f'{HERE}/memcheck.wsgi', f'{root}/app.wsgi')
    with open(f'{root}/docs/file', 'wb') as file:
        file.write(os.urandom(100_000))
    libexec = apxs('LIBEXECDIR')
    loaded = '\n'.join(f'LoadModule {name}_module {libexec}/mod_{name}.so' for name in MODULES)
    port = free_port()
    with open(f'{root}/httpd.conf', 'w') as file:
        file.write(CONFIG.format(root=root, port=port, modules=loaded, module=f'{root}/module/mod_rustgi.so'))
    os.chmod(root, 0o755)
    if os.geteuid() == 0:
        for name in ('run', 'logs'):
            shutil.chown(f'{root}/{name}', USER, USER)
    return port


def answered(port, sent):
    with socket.create_connection(('127.0.0.1', port), timeout=120) as connection:
        answer = b''
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                answer += piece
        except OSError:
            pass
    return answer[9:12].decode('latin-1')


def wait_until_up(port, process):
    while process.poll() is None:
        try:
            socket.create_connection(('127.0.0.1', port)).close()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit('httpd did not start')


def report(module, count):
    """What memcheck says of so many requests."""
    with tempfile.TemporaryDirectory(prefix='rustgi-memcheck-') as root:
        port = lay_out(root, module)
        command = ['valgrind', '--leak-check=full', '--errors-for-leak-kinds=none', '--keep-debuginfo=yes', '--num-callers=40',
                   '--child-silent-after-fork=yes', f'--log-file={root}/logs/memcheck', f'{apxs("SBINDIR")}/{apxs("PROGNAME")}', '-X', '-f', f'{root}/httpd.conf']
        if os.geteuid() == 0:
            command[:0] = ['setpriv', f'--reuid={USER}', f'--regid={USER}', '--clear-groups']
        # Python's own allocator would hide what is done with its blocks.
        process = subprocess.Popen(command, env={**os.environ, 'PYTHONMALLOC': 'malloc'}, cwd='/', stdout=subprocess.DEVNULL)
        try:
            wait_until_up(port, process)
            statuses = collections.Counter(answered(port, MIXTURE[at % len(MIXTURE)]) for at in range(count))
        finally:
            process.terminate()
            process.wait(120)
        print(f'{count} requests: {dict(sorted(statuses.items()))}')
        with open(f'{root}/logs/memcheck') as file:
            return re.sub(r'(?m)^==\d+== ?', '', file.read())


def figures(said):
    kinds = ['definitely lost', 'indirectly lost', 'possibly lost', 'still reachable']
    found = {kind: re.search(kind + r': ([\d,]+ bytes in [\d,]+ blocks)', said)[1] for kind in kinds}
    return {**found, 'errors': re.search(r'ERROR SUMMARY: (\d+ errors from \d+ contexts)', said)[1]}


def errors_of_ours(said):
    """Errors but those that Python makes while it starts or imports, wherever it is embedded."""
    found = [block for block in re.split(r'\n\s*\n', said.split('HEAP SUMMARY')[0]) if '\n   at 0x' in block]
    own = re.compile(r'at 0x\w+: .*libpython3')
    starting = re.compile('Py_InitializeFromConfig|PyImport_ImportModuleLevelObject')
    return [block for block in found if not (own.search(block) and starting.search(block))]


def main():
    few, many = (report(sys.argv[1], count) for count in (FEW, MANY))
    before, after = figures(few), figures(many)
    for kind in before:
        print(f'{kind}: {before[kind]} after {FEW}, {after[kind]} after {MANY}')
    ours = errors_of_ours(many)
    print(*ours, sep='\n\n')
    print(f'{len(ours)} errors of ours')
    sys.exit(bool(ours) or before != after)


main()
