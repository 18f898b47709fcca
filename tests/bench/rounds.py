"""The measurement: all contenders run at once, and take turns under load, A B C A B C, so that what disturbs the machine
disturbs all of them."""
import contextlib
import itertools
import os
import sys

import load
import meter
from installation import Missing
from running import start

# On one processor the rate is the inverse of what a request costs; on two, how much of it runs side by side.
CORES = {1: {0}, 2: None}


def say(text):
    print(text, file=sys.stderr, flush=True)


class Run:
    """One run. `results` has a record for each case, contender and number of cores; `missing` says who is not there."""

    def __init__(self, contenders, seconds, rounds, cores=(1, 2)):
        self.contenders, self.seconds, self.rounds, self.cores = contenders, seconds, rounds, cores
        self.results = []
        self.missing = {}

    def measure(self, cases):
        grouped = itertools.groupby(cases, key=lambda case: (case.application, case.tls))
        for (application, tls), group in grouped:
            group = list(group)
            with contextlib.ExitStack() as stack:
                running = self.start_all(stack, application, tls, group[0])
                for case in group:
                    self.measure_case(case, [server for server in running if server.name != 'floor' or case.with_floor])

    def start_all(self, stack, application, tls, case):
        running = []
        for contender in self.contenders:
            if contender.kind == 'none' and not case.with_floor:
                continue
            if tls and not contender.http2:
                self.miss(contender, case, 'does not speak HTTP/2')
                continue
            try:
                server = stack.enter_context(start(contender, application, case, tls=tls))
            except Missing as why:
                self.miss(contender, case, str(why))
                continue
            running.append(server)
        return running

    def is_ready(self, server, case):
        """Whether a server answers right; if so, it is warm afterwards."""
        try:
            server.await_answer(case)
        except Missing as why:
            self.miss(server.contender, case, str(why))
            return False
        load.run(server, case, 1)
        return True

    def miss(self, contender, case, why):
        say(f'{case.title}: {contender.name} is missing: {why}')
        self.missing.setdefault(contender.name, {})[case.key] = why

    def measure_case(self, case, running):
        running = [server for server in running if self.is_ready(server, case)]
        for cores in self.cores:
            records = {server.name: [] for server in running}
            for _, server in itertools.product(range(self.rounds), running):
                records[server.name].append(turn(server, case, self.seconds, cores))
            for server in running:
                self.results.append({
                    'case': case.key, 'contender': server.name, 'cores': cores, 'rounds': records[server.name],
                    'memory': meter.memory(meter.processes(server))})
                say(f'{case.title}, {cores} core(s): {server.name}: '
                    + ' '.join(f"{record['rate']:.0f}" for record in records[server.name]) + ' requests/s')


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
