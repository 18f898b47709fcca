"""What is on this machine before anything is installed: httpd, its modules, the module that was built, the Python."""
import functools
import os
import pathlib
import pwd
import subprocess

SOURCE = pathlib.Path(__file__).resolve().parent
REPOSITORY = SOURCE.parent.parent
APPLICATIONS = SOURCE / 'applications'
PYTHON = os.environ.get('PYTHON') or '/usr/bin/python3'
APXS = os.environ.get('APXS') or 'apxs'


class Missing(Exception):
    """Something cannot be had on this machine; the message says what and why."""


def said(*command, timeout=900, **options):
    """What a command prints. It must succeed, and in time; if it does not, the last line of its complaint is the message."""
    name = os.path.basename(os.fspath(command[0]))
    try:
        done = subprocess.run([os.fspath(word) for word in command], capture_output=True, text=True, timeout=timeout, **options)
    except subprocess.TimeoutExpired:
        raise Missing(f'{name}: has not ended after {timeout} s') from None
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or f'exit code {done.returncode}').splitlines()
        raise Missing(f'{name}: {lines[-1]}')
    return done.stdout.strip()


@functools.cache
def python_version():
    """Of the Python that applications run in: `3.11`, and `3.14t` if it is free-threaded."""
    return said(PYTHON, '-c', 'import sys, sysconfig; print("%d.%d" % sys.version_info[:2] + '
                              '("t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""))')


@functools.cache
def apxs(variable):
    return said(APXS, '-q', variable)


def httpd():
    """The program; RUSTGI_HTTPD names another one, where a Python can only be had together with its own."""
    return os.environ.get('RUSTGI_HTTPD') or os.path.join(apxs('SBINDIR'), apxs('PROGNAME'))


@functools.cache
def built_in():
    """The modules of httpd that are compiled into it."""
    names = [line.strip().removesuffix('.c') for line in said(httpd(), '-l').splitlines() if line.endswith('.c')]
    return {name.removeprefix('mod_') for name in names}


def load_line(name):
    """The line that loads one of httpd's own modules; empty if it is compiled in."""
    if name in built_in():
        return ''
    path = os.path.join(apxs('LIBEXECDIR'), f'mod_{name}.so')
    if not os.path.exists(path):
        raise Missing(f'httpd has no module {name}')
    return f'LoadModule {name}_module "{path}"\n'


def module():
    """The module as it was built; the engines are in `rustgi/` beside it."""
    path = pathlib.Path(os.environ.get('RUSTGI_MODULE') or REPOSITORY / 'target/release/mod_rustgi.so')
    if not path.exists():
        raise Missing(f'there is no {path.name}: `make module` builds it')
    return path


@functools.cache
def user():
    """Whom servers run as where root starts them; None where somebody else does."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return next(known[name] for name in ('www-data', 'apache', 'daemon', 'nobody') if name in known)
