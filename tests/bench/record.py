"""The raw results of a run: what was measured, of which commit, on which machine, with what."""
import datetime
import json
import os
import platform
import subprocess

import cache
from installation import PYTHON, REPOSITORY, Missing, httpd, said


def of(bare, **parts):
    """A record of a run, ready to be written as JSON. `bare`: in a Python that has no packages."""
    return {'date': datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'), 'commit': commit(),
            'machine': machine(), 'versions': versions(bare), **parts}


def commit():
    try:
        name = said('git', '-C', REPOSITORY, 'rev-parse', '--short=12', 'HEAD')
        changed = said('git', '-C', REPOSITORY, 'status', '--porcelain', '--untracked-files=no')
    except (Missing, OSError):
        return 'unknown'
    return name + (' and changes' if changed else '')


def machine():
    with open('/proc/cpuinfo') as file:
        models = [line.partition(':')[2].strip() for line in file if line.startswith('model name')]
    return {'processor': models[0] if models else platform.machine(), 'processors': os.cpu_count(),
            'memory': os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES'), 'kernel': platform.release()}


def versions(bare):
    """The versions of everything that takes part, as far as they can be told."""
    asked = {'httpd': [httpd(), '-v'], 'Python': [PYTHON, '--version'], 'wrk': ['wrk', '-v'], 'h2load': ['h2load', '--version'],
             'valgrind': ['valgrind', '--version']}
    told = {}
    for name, command in asked.items():
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            told[name] = (done.stdout + done.stderr).splitlines()[0].strip()
        except (OSError, IndexError, subprocess.TimeoutExpired):
            continue
    if bare:
        return told
    for archive in cache.root().glob('debian-*/*.deb'):
        name, version, _ = archive.name.split('_', 2)
        told[name] = version.replace('%3a', ':')
    frozen = said(cache.venv()[0] / 'bin/python', '-m', 'pip', 'list', '--format=json')
    return {**told, **{package['name']: package['version'] for package in json.loads(frozen)}}


def write(record, directory, name):
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f'{name}.json'
    # Whoever reads it meanwhile, or ends this, finds all of it or what was there before.
    new = path.with_suffix('.new')
    new.write_text(json.dumps(record, indent=1) + '\n')
    new.replace(path)
    return path
