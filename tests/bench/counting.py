"""What a request costs, counted instead of timed: instructions under valgrind's callgrind, system calls under strace. The
machine may be busy meanwhile."""
import collections
import re
import shutil
import signal
import socket
import subprocess
import time

import cases
import meter
from contenders import OURS_DAEMON
from installation import Missing
from places import Shape
from rounds import say
from running import PATIENCE, start

WARM_UP, COUNTED = 60, 400
PAUSE = 0.005
# Processor time in a second that is nothing.
IDLE = 0.03
# So few that all of them have served before anything is counted.
SLOW = Shape(threads=3, daemon_options='shutdown-timeout=60')
# Longest that a server under valgrind may take to its first answer, and to its end.
SLOW_START, SLOW_END = 180, 40

WRK = ()
CHROME = (
    'Connection: keep-alive',
    'Cache-Control: max-age=0',
    'sec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24"',
    'sec-ch-ua-mobile: ?0',
    'sec-ch-ua-platform: "Linux"',
    'Upgrade-Insecure-Requests: 1',
    'User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36',
    'Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8',
    'Sec-Fetch-Site: none',
    'Sec-Fetch-Mode: navigate',
    'Accept-Language: en-US,en;q=0.9',
)
KINDS = {'wrk': WRK, 'chrome': CHROME}


def count(contenders, bare, keep):
    """What can be counted of each contender, and why the rest cannot; what there is after each is kept. `bare`: in a Python that
    has no packages."""
    hello = cases.ALL[0]
    counts = {}
    for contender in contenders:
        counted = counts[contender.name] = {}
        for kind in KINDS:
            # What has failed once fails again, and takes its time. 4.9 does not end under valgrind.
            if contender.kind in ('none', 'embedded', 'daemon') and 'missing' not in counted and '4.9' not in contender.name:
                note(counted, f'instructions {kind}', instructions, contender, hello, kind, bare)
        note(counted, 'system calls', system_calls, contender, hello, 'wrk', bare)
        say(f'{contender.name}: {counted}')
        keep(counts)


def note(counted, what, how, *given):
    """Notes what was counted, or why nothing was: under valgrind and strace programs fail in ways of their own."""
    try:
        counted[what] = how(*given)
    except (Missing, OSError, ValueError, subprocess.SubprocessError) as why:
        counted.setdefault('missing', {})[what] = str(why)


def send(port, headers, count):
    """So many requests on one connection. Each comes after its connection has been put to rest: under valgrind httpd is so
    slow that it would otherwise sometimes find the next request before it has looked whether there is one."""
    lines = ['GET / HTTP/1.1', f'Host: 127.0.0.1:{port}', *headers, '', '']
    request = '\r\n'.join(lines).encode()
    with socket.create_connection(('127.0.0.1', port), timeout=60) as connection:
        for _ in range(count):
            time.sleep(PAUSE)
            connection.sendall(request)
            answer = b''
            while not answer.endswith(b'Hello World!'):
                piece = connection.recv(65536)
                if not piece:
                    raise Missing(f'the connection ended after {answer[:100]}')
                answer += piece


def instructions(contender, case, kind, bare):
    """Instructions of a request, by what the processes of a contender are there for."""
    few = instructions_of_all(contender, case, kind, WARM_UP, bare)
    many = instructions_of_all(contender, case, kind, WARM_UP + COUNTED, bare)
    return {role: (many[role] - few.get(role, 0)) / COUNTED for role in many}


def instructions_of_all(contender, case, kind, count, bare):
    if not shutil.which('valgrind'):
        raise Missing('there is no valgrind on the PATH')
    embedded = contender.kind in ('none', 'embedded')
    # Where a hash falls decides what a look-up costs.
    under = ['env', 'PYTHONHASHSEED=0', 'valgrind', '--tool=callgrind', '--vgdb=no',
             f'--trace-children={"no" if embedded else "yes"}', '--callgrind-out-file=@root@/run/callgrind.%p']
    # With daemons, mod_wsgi wants a parent.
    alone = embedded or contender.name == OURS_DAEMON
    with start(contender, case.application, under=under, shape=SLOW, one_process=alone, bare=bare) as running:
        # Each request that came before all is ready would be counted.
        settle(running)
        running.await_answer(case, SLOW_START)
        settle(running)
        send(running.port, KINDS[kind], count)
        parent = running.started[-1].pid
        roles = {pid: meter.role(pid, parent).partition(',')[0] for pid in meter.processes(running)}
        if not running.end(SLOW_END):
            raise Missing(f'has not ended after {SLOW_END} s, and callgrind writes down its counts at the end')
        counts = collections.Counter()
        for pid, role in roles.items():
            counts[role] += total(running.place.root / f'run/callgrind.{pid}')
        return counts


def settle(running):
    """Waits until the processes of a server have nothing more to do."""
    begun, quiet = time.monotonic(), 0
    while quiet < 2 and time.monotonic() - begun < SLOW_START:
        before = meter.cpu_seconds(meter.processes(running))
        time.sleep(1)
        used = meter.cpu_seconds(meter.processes(running)) - before
        quiet = quiet + 1 if used < IDLE else 0


def total(path):
    """What callgrind counted in a process. It writes that when the process ends, which may be later than its parent does."""
    until = time.monotonic() + SLOW_END
    while time.monotonic() < until:
        found = path.exists() and re.search(r'(?m)^(?:totals|summary): (\d+)', path.read_text())
        if found:
            return int(found[1])
        time.sleep(0.1)
    raise Missing('a process was killed before it wrote down its instructions')


def system_calls(contender, case, kind, bare):
    """System calls of a request, in all processes of a contender, by name."""
    if not shutil.which('strace'):
        raise Missing('there is no strace on the PATH')
    with start(contender, case.application, case, shape=SLOW, bare=bare) as running:
        send(running.port, KINDS[kind], WARM_UP)
        counts = running.place.root / 'logs/strace'
        attached = [f'-p{pid}' for pid in meter.processes(running)]
        strace = subprocess.Popen(['strace', '-f', '-c', '-o', counts, *attached], stderr=subprocess.PIPE, text=True)
        for _ in attached:
            strace.stderr.readline()
        time.sleep(0.5)
        send(running.port, KINDS[kind], COUNTED)
        strace.send_signal(signal.SIGINT)
        try:
            strace.wait(PATIENCE)
        finally:
            strace.kill()
        return {name: count / COUNTED for name, count in calls(counts.read_text()) if count / COUNTED >= 0.05}


def calls(table):
    """Name and number of each line of what `strace -c` says."""
    for line in table.splitlines():
        words = line.split()
        if len(words) >= 5 and words[3].isdigit() and words[-1] != 'total':
            yield words[-1], int(words[3])
