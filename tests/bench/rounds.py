"""The measurement: all contenders run at once, and take turns under load, A B C A B C, so that what disturbs the machine
disturbs all of them."""
import contextlib
import itertools
import os
import sys
import time

import asked
import load
import meter
from installation import Missing
from running import start

# On one processor the rate is the inverse of what a request costs; on two, how much of it runs side by side.
CORES = {1: {0}, 2: None}


def say(text):
    print(text, file=sys.stderr, flush=True)


class Time:
    """The time that a run may take. What would begin after it is left out."""

    def __init__(self, minutes=None):
        self.until = time.monotonic() + minutes * 60 if minutes else float('inf')

    def is_up(self):
        return time.monotonic() > self.until


class Run:
    """One run. `results` has a record for each case, contender and number of cores; `missing` says who is not there. Figures
    that were asked for take `seconds`, others less."""

    def __init__(self, contenders, seconds, less, rounds, time, cores=(1, 2)):
        self.contenders, self.seconds, self.less, self.rounds, self.time, self.cores = contenders, seconds, less, rounds, time, cores
        self.results = []
        self.missing = {}
        self.warm_up = 1

    def measure(self, cases, keep):
        """Measures all; what there is after each case is kept."""
        grouped = itertools.groupby(cases, key=lambda case: (case.application, case.tls))
        for (application, tls), group in grouped:
            group = list(group)
            with contextlib.ExitStack() as stack:
                running = self.start_all(stack, application, tls, group)
                for case in group:
                    self.measure_case(case, [server for server in running if server.name != 'floor' or case.with_floor])
                    keep()

    def start_all(self, stack, application, tls, group):
        case = group[0]
        running = []
        for contender in self.contenders:
            if contender.kind == 'none' and not case.with_floor:
                continue
            try:
                if self.time.is_up():
                    raise Missing('no time was left')
                if tls and not contender.http2:
                    raise Missing('does not speak HTTP/2')
                running.append(stack.enter_context(start(contender, application, case, tls=tls)))
            except (Missing, OSError) as why:
                for each in group:
                    self.miss(contender, each, str(why))
        return running

    def is_ready(self, server, case):
        """Whether a server answers right; if so, it is warm afterwards."""
        try:
            if self.time.is_up():
                raise Missing('no time was left')
            server.await_answer(case)
            load.run(server, case, self.warm_up)
            return True
        except Missing as why:
            self.miss(server.contender, case, str(why))
            return False

    def miss(self, contender, case, why):
        why = ''.join(letter if letter.isprintable() else '?' for letter in why)
        say(f'{case.title}: {contender.name} is missing: {why}')
        self.missing.setdefault(contender.name, {})[case.key] = why

    def measure_case(self, case, running):
        running = [server for server in running if self.is_ready(server, case)]
        for cores in self.cores:
            turns = {server.name: [] for server in running}
            for _ in range(self.rounds):
                running = [server for server in running if self.take_turn(server, case, cores, turns[server.name])]
            for server in running:
                self.results.append({
                    'case': case.key, 'contender': server.name, 'cores': cores, 'rounds': turns[server.name],
                    'memory': meter.memory(meter.processes(server))})
                say(f'{case.title}, {cores} core(s): {server.name}: '
                    + ' '.join(f"{each['rate']:.0f}" for each in turns[server.name]) + ' requests/s')

    def take_turn(self, server, case, cores, turns):
        """One turn; whether it could be taken."""
        try:
            seconds = self.seconds if asked.takes_long(server.name, case.key) else self.less
            turns.append(turn(server, case, seconds, cores))
            return True
        except Missing as why:
            self.miss(server.contender, case, str(why))
            return False


def turn(server, case, seconds, cores, clients=None):
    """Loads a server for so long: its rate, and the processor time of ten thousand requests."""
    pids = meter.processes(server)
    cpus = CORES[cores]
    meter.pin(pids, cpus or everywhere())
    before = meter.cpu_seconds(pids)
    result = load.run(server, case, seconds, 1 if cpus else None, clients)
    used = meter.cpu_seconds(meter.processes(server)) - before
    requests = max(1, result['requests'])
    return {**result, 'rate': result['requests'] / result['seconds'], 'cpu_per_10k': used / requests * 10_000}


def everywhere():
    return set(range(os.cpu_count()))
