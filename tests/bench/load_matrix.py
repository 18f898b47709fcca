"""How a daemon group behaves below, at and above its capacity: an application that sleeps 20 ms, 4 threads in each process,
1, 2 and 8 processes, 1 and 4 httpd children. Both contenders run at once and take turns, A B A B.

The load is a closed loop: at `n` times the capacity there are `n` clients for each thread of the group, and each client
sends its next request when it has the answer to the last one. The clients number their requests in the order in which they
send them, so that the matrix shows by how much later requests overtake earlier ones."""
import collections
import contextlib
import dataclasses
import itertools
import pathlib
import select
import socket
import statistics
import time

import cases
import contenders
import meter
from installation import Missing
from places import Shape
from rounds import say
from running import start

CASE = cases.Case('waiter', 'an application that sleeps 20 ms', 'waiter', with_floor=False)
# Service time of `applications/waiter.py` in seconds.
SERVICE = 0.02
THREADS = 4
PROCESSES = (1, 2, 8)
CHILDREN = (1, 4)
TIMES = (0.5, 1, 2, 10)
# Requests that wait for a thread while the processor time of waiting is measured, and for how many seconds.
WAITERS, WATCHED = 100, 1.5
# How many seconds a client waits for an answer.
PATIENCE = 30
USUAL = [contenders.OURS_DAEMON, 'mod_wsgi 6.1.1 daemon']


@dataclasses.dataclass
class Sent:
    """One request: when it was sent, and when its answer was complete."""
    sent: float
    answered: float = float('inf')


def measure(against, seconds, rounds, running_time, keep):
    """Measures all cells, and keeps the results after each pair of process and child numbers."""
    cells, waiting, missing = [], [], {}
    for processes, children in itertools.product(PROCESSES, CHILDREN):
        if running_time.is_up():
            say(f'{processes} processes, {children} children: no time was left')
            break
        # The event MPM closes kept connections when all of its threads are busy, so there are more threads than clients.
        clients = max(round(TIMES[-1] * processes * THREADS), processes * THREADS + WAITERS) * 5 // 4
        shape = Shape(processes=processes, threads=THREADS, children=children, clients=clients,
                      daemon_options='display-name=%{GROUP}')
        with contextlib.ExitStack() as stack:
            servers = []
            for contender in against:
                try:
                    servers.append(stack.enter_context(start(contender, CASE.application, CASE, shape=shape)))
                    overload(servers[-1], 2 * processes * THREADS, 0.5)
                except (Missing, OSError) as why:
                    say(f'{contender.name} is missing: {why}')
                    missing[contender.name] = str(why)
            for times in TIMES:
                count = max(1, round(times * processes * THREADS))
                turns = {server.name: [] for server in servers}
                for _, server in itertools.product(range(rounds), servers):
                    turns[server.name].append(overload(server, count, seconds))
                for server in servers:
                    cell = {'processes': processes, 'children': children, 'times': times, 'clients': count,
                            'contender': server.name, 'rounds': turns[server.name]}
                    cells.append(cell)
                    say(f'{processes} processes, {children} children, {times} times: {server.name}: '
                        + ', '.join(f"{each['rate']:.0f}/s p99 {each['p99'] * 1000:.0f} ms {each['failed'] or ''}" for each in turns[server.name]))
            for server in servers:
                found = watch_waiting(server, processes * THREADS + WAITERS)
                waiting.append({'processes': processes, 'children': children, 'contender': server.name, **found})
                say(f'{processes} processes, {children} children, {WAITERS} requests wait: {server.name}: '
                    f"{found['children_cpu'] * 100:.2f} % of a core")
        keep(cells=cells, waiting=waiting, missing=missing)


def overload(server, clients, seconds):
    """Loads a server with `clients` clients for `seconds`: rate, latencies, processor time, and how requests overtook others."""
    before = cpu_by_role(server)
    begun = time.monotonic()
    sent, failed = closed_loop(server.port, clients, seconds)
    took = time.monotonic() - begun
    used = {role: used - before.get(role, 0) for role, used in cpu_by_role(server).items()}
    latencies = sorted(one.answered - one.sent for one in sent) or [0]
    return {'requests': len(sent), 'failed': dict(failed), 'seconds': took, 'rate': len(sent) / took,
            'p50': statistics.median(latencies), 'p99': latencies[int(len(latencies) * 0.99)], 'longest': latencies[-1],
            'inversion': largest_inversion(sent) / SERVICE, 'overtaken': overtaken(sent),
            'cpu': {role: each / max(1, len(sent)) for role, each in used.items()}}


REQUEST = 'GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n'


def closed_loop(port, clients, seconds):
    """The requests in the order in which they were sent, and the number of failures by kind. Each client keeps its connection."""
    request = REQUEST.format('').encode()
    poll = select.epoll()
    by_number, under_way, sent = {}, {}, []
    failed = collections.Counter()

    def connect():
        connection = socket.create_connection(('127.0.0.1', port), PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        by_number[connection.fileno()] = connection
        poll.register(connection, select.EPOLLIN)
        return connection

    def send(connection):
        one = Sent(time.monotonic())
        connection.sendall(request)
        sent.append(one)
        under_way[connection.fileno()] = (one, b'')

    for _ in range(clients):
        send(connect())
    until = time.monotonic() + seconds
    try:
        while under_way:
            ready = poll.poll(PATIENCE)
            if not ready:
                failed['no answer'] += len(under_way)
                break
            for number, _ in ready:
                connection = by_number[number]
                one, came = under_way.pop(number)
                came += received(connection)
                if came and not is_whole(came):
                    under_way[number] = (one, came)
                    continue
                if came.startswith(b'HTTP/1.1 200 '):
                    one.answered = time.monotonic()
                else:
                    failed[came.partition(b'\r\n')[0].decode('latin-1') or 'connection closed'] += 1
                if not came or b'\r\nConnection: close' in came:
                    poll.unregister(connection)
                    by_number.pop(number).close()
                    if time.monotonic() < until:
                        send(connect())
                elif time.monotonic() < until:
                    send(connection)
    finally:
        for connection in by_number.values():
            connection.close()
    return [one for one in sent if one.answered < float('inf')], failed


def received(connection):
    try:
        return connection.recv(65536)
    except OSError:
        return b''


def is_whole(came):
    head, end, body = came.partition(b'\r\n\r\n')
    if not end:
        return False
    length = next((line for line in head.split(b'\r\n') if line.lower().startswith(b'content-length:')), b':0')
    return len(body) >= int(length.partition(b':')[2])


def largest_inversion(sent):
    """The longest time for which a request stayed unanswered after one that was sent later had been answered."""
    largest, first_later = 0, float('inf')
    for one in reversed(sent):
        largest = max(largest, one.answered - first_later)
        first_later = min(first_later, one.answered)
    return largest


def overtaken(sent):
    """The share of requests that were answered more than one service time after one that was sent later."""
    count, first_later = 0, float('inf')
    for one in reversed(sent):
        count += one.answered - first_later > SERVICE
        first_later = min(first_later, one.answered)
    return count / max(1, len(sent))


def cpu_by_role(server):
    """Processor seconds until now: of the httpd children, of the processes that run the application, of the other processes."""
    parent = server.started[0].pid
    used = {'children': 0, 'workers': 0, 'others': 0}
    for pid in meter.processes(server):
        used[role_of(pid, parent)] += meter.cpu_seconds([pid])
    return used


def role_of(pid, parent):
    try:
        command = (meter.PROC / str(pid) / 'cmdline').read_bytes()
    except OSError:
        return 'others'
    if b'(wsgi:bench)' in command:
        return 'workers'
    return 'children' if b'httpd.conf' in command and pid != parent else 'others'


def watch_waiting(server, clients):
    """The processor time that httpd's children take while `WAITERS` requests wait for a thread. The others hold all threads."""
    held = pathlib.Path(server.place.root) / 'docs/held'
    held.touch()
    connections = []
    try:
        for _ in range(clients):
            connections.append(socket.create_connection(('127.0.0.1', server.port), PATIENCE))
            connections[-1].sendall(REQUEST.format(f'?{held}').encode())
        time.sleep(0.5)
        before, begun = cpu_by_role(server), time.monotonic()
        time.sleep(WATCHED)
        took = time.monotonic() - begun
        used = {role: (used - before[role]) / took for role, used in cpu_by_role(server).items()}
    finally:
        held.unlink()
    answered = 0
    for connection in connections:
        connection.settimeout(PATIENCE)
        answered += received(connection).startswith(b'HTTP/1.1 200 ')
        connection.close()
    return {'waiters': WAITERS, 'clients': clients, 'answered': answered, 'children_cpu': used['children'],
            'workers_cpu': used['workers']}
