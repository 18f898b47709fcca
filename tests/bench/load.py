"""The clients: wrk for HTTP/1.1, h2load for HTTP/2."""
import json
import re
import shutil

from installation import SOURCE, Missing, said

# How much longer than it should a load may take.
PATIENCE = 60


def run(running, case, seconds, cpu=None, clients=None):
    """Sends the requests of a case for so long, from one thread, on processor `cpu` if that is given. What came of it:
    requests, seconds, p50 and p99 in microseconds, errors, connections that were closed."""
    clients = clients or case.clients
    pinned = ['taskset', '-c', str(cpu)] if cpu is not None else []
    try:
        return (h2load if case.tls else wrk)(pinned, running, case, seconds, clients)
    except (ValueError, LookupError, TypeError) as why:
        raise Missing(f'the load has no result: {why!r}') from why


def is_sound(result):
    """Whether a result counts. A server may close a connection that it has kept alive just when the next request comes:
    clients send it again, and wrk counts an error. More of that than one in a thousand is no accident."""
    return not result['errors'] and result.get('closed', 0) <= result['requests'] / 1000


def wrk(pinned, running, case, seconds, clients):
    command = [*pinned, tool('wrk'), '-t1', f'-c{clients}', f'-d{seconds}s', '--timeout', '30s', '-s', SOURCE / 'load.lua',
               f'http://127.0.0.1:{running.port}{case.path}', '--', case.method, str(case.body), str(case.headers),
               str(case.applications), 'mixed' if case.mixed else 'same']
    return json.loads(said(*command, timeout=seconds + PATIENCE).splitlines()[-1])


def h2load(pinned, running, case, seconds, clients):
    command = [*pinned, tool('h2load'), '-t1', f'-c{max(1, clients // 4)}', '-m4', '-D', str(seconds),
               f'https://127.0.0.1:{running.port}{case.path}']
    output = said(*command, timeout=seconds + PATIENCE)
    counts = {name: int(number) for number, name in re.findall(r'(\d+) (succeeded|failed|errored|timeout)', output)}
    rate = float(re.search(r'([\d.]+) req/s', output)[1])
    return {'requests': counts['succeeded'], 'seconds': counts['succeeded'] / rate if rate else seconds,
            'errors': counts['failed'] + counts['timeout']}


def tool(name):
    path = shutil.which(name)
    if not path:
        raise Missing(f'there is no {name} on the PATH')
    return path
