"""What is installed to be compared with. Made once, beside what cargo builds or where RUSTGI_BENCH_CACHE says, and kept
until the lists of what is in it change. Nothing is installed on the system."""
import functools
import hashlib
import os
import pathlib
import shutil
import stat
import sys

from installation import APXS, PYTHON, REPOSITORY, SOURCE, Missing, python_version, said


@functools.cache
def root():
    """The directory of the cache. Servers that have dropped root's privileges read it, so everybody must be let in."""
    named = os.environ.get('RUSTGI_BENCH_CACHE')
    target = pathlib.Path(os.environ.get('CARGO_TARGET_DIR') or REPOSITORY / 'target')
    path = pathlib.Path(named) if named else target.resolve() / 'bench'
    if not named and os.geteuid() == 0 and not is_open(path.parent):
        path = pathlib.Path('/var/tmp/rustgi-bench')
    path.mkdir(parents=True, exist_ok=True)
    return path


def is_open(path):
    there = [directory for directory in (path, *path.parents) if directory.exists()]
    return all(directory.stat().st_mode & stat.S_IXOTH for directory in there)


def made_once(name, key, make):
    """The directory `name` of the cache, filled by `make(directory)` unless that was done for the same `key`."""
    directory = root() / name
    mark = directory / 'made-for'
    digest = hashlib.sha256(key.encode()).hexdigest()
    if not mark.exists() or mark.read_text() != digest:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        print(f'making {directory}', flush=True)
        make(directory)
        mark.write_text(digest)
    return directory


def wanted(file):
    """The requirements in a file, by the name of the package."""
    lines = [line.partition('#')[0].strip() for line in (SOURCE / file).read_text().splitlines()]
    return {line.partition('==')[0]: line for line in lines if line}


@functools.cache
def venv():
    """The virtual environment of the applications and of the peers, and why what is missing in it is."""
    missing = {}

    def make(directory):
        said(PYTHON, '-m', 'venv', directory)
        for name, requirement in wanted('requirements.txt').items():
            try:
                said(directory / 'bin/python', '-m', 'pip', 'install', '--quiet', requirement)
            except Missing as why:
                (directory / f'missing-{name}').write_text(str(why))

    version = said(PYTHON, '--version')
    directory = made_once(f'venv-{python_version()}', version + PYTHON + (SOURCE / 'requirements.txt').read_text(), make)
    for mark in directory.glob('missing-*'):
        missing[mark.name.removeprefix('missing-')] = mark.read_text()
    return directory, missing


@functools.cache
def bare_venv():
    """A virtual environment with nothing in it, for what is asked of ours alone."""
    def make(directory):
        said(PYTHON, '-m', 'venv', '--without-pip', directory)

    return made_once(f'bare-venv-{python_version()}', PYTHON, make)


def program(package, name):
    """A program of a package in the virtual environment."""
    directory, missing = venv()
    if package in missing:
        raise Missing(missing[package])
    return directory / 'bin' / name


def charts():
    """A Python that draws. It need not be the one that applications run in."""
    def make(directory):
        said(sys.executable, '-m', 'venv', directory)
        said(directory / 'bin/python', '-m', 'pip', 'install', '--quiet', '-r', SOURCE / 'requirements-charts.txt')

    return made_once('charts', sys.executable + (SOURCE / 'requirements-charts.txt').read_text(), make) / 'bin/python'


def debian(package, file):
    """A file of a package of Debian, unpacked and not installed."""
    def make(directory):
        if not shutil.which('apt-get') or not shutil.which('dpkg-deb'):
            raise Missing(f'{package} is taken from Debian, and this is none')
        # The program may drop root's privileges to download.
        said('apt-get', 'download', '-o', 'APT::Sandbox::User=root', package, cwd=directory)
        for archive in directory.glob('*.deb'):
            said('dpkg-deb', '--extract', archive, directory)

    path = made_once(f'debian-{package}', package, make) / file
    if not path.exists():
        raise Missing(f'{package} has no {file} here')
    return path


def floor():
    """The module whose handler answers with fixed bytes."""
    def make(directory):
        shutil.copy(SOURCE / 'floor.c', directory)
        said(APXS, '-c', '-Wc,-O2', 'floor.c', cwd=directory)

    return made_once('floor', (SOURCE / 'floor.c').read_text(), make) / '.libs/floor.so'


def file_of(size):
    """A file of so many bytes."""
    def make(directory):
        with open(directory / 'file', 'wb') as file:
            for _ in range(size // 65536):
                file.write(os.urandom(65536))

    return made_once(f'file-{size}', str(size), make) / 'file'


def certificate():
    """A certificate for `localhost`, and its key."""
    def make(directory):
        said('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '365', '-subj', '/CN=localhost',
             '-keyout', directory / 'key', '-out', directory / 'certificate')
        (directory / 'key').chmod(0o644)

    directory = made_once('tls', 'rsa:2048', make)
    return directory / 'certificate', directory / 'key'


def database():
    """The database of the Django application, filled."""
    def make(directory):
        said(venv()[0] / 'bin/python', SOURCE / 'applications/django_site.py',
             env={**os.environ, 'DATABASE': str(directory / 'site.sqlite3')})

    return made_once('database', (SOURCE / 'applications/django_site.py').read_text(), make) / 'site.sqlite3'
