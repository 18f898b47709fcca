"""How rate and memory change with threads, processes, clients, sizes and applications."""
import contextlib
import dataclasses
import http.client
import itertools
import statistics

import cases
import contenders
import load
import meter
from installation import Missing
from places import Shape
from rounds import say, turn
from running import start

HELLO = cases.ALL[0]
FLASK = cases.ALL[1]


@dataclasses.dataclass(frozen=True)
class Series:
    """One quantity, and the values it takes."""
    key: str
    title: str
    values: tuple
    case: cases.Case = HELLO
    unit: str = 'requests/s'
    logarithmic: bool = False

    def shape(self, value):
        """The shape of a server at a value."""
        return {'threads': Shape(threads=value, clients=64), 'processes': Shape(processes=value),
                'applications': Shape(applications=value)}.get(self.key, Shape())

    def contenders(self):
        """Who is measured; httpd itself where connections are what grows."""
        return [*(['floor'] if self.key in ('clients', 'idle') else []), *contenders.FOUR]

    def asked(self, value):
        """The case at a value."""
        if self.key in ('sizes', 'pieces'):
            path = f'/?{value}&whole' if self.key == 'sizes' else f'/?{value}'
            return dataclasses.replace(self.case, path=path, size=value)
        if self.key == 'applications':
            return dataclasses.replace(self.case, applications=value)
        return self.case

    def clients(self, value):
        """How many clients ask."""
        return {'threads': 64, 'processes': 64, 'clients': value}.get(self.key, 16)


SIZE = cases.Case('size', 'bytes', 'bytes_asked_for')
ALL = [
    Series('threads', 'threads of the application, 64 clients, Flask', (1, 2, 4, 8, 16, 32, 64), FLASK),
    Series('processes', 'processes of the application, 64 clients, Flask', (1, 2, 4, 8), FLASK),
    Series('clients', 'clients that ask all the time', (1, 4, 16, 64, 256, 1000)),
    Series('idle', 'clients at rest beside 16 that ask', (10, 100, 1000)),
    Series('sizes', 'bytes of an answer in one piece', (1, 1 << 10, 1 << 14, 1 << 16, 1 << 20, 1 << 23, 1 << 26), SIZE,
           'MiB/s', True),
    Series('applications', 'applications in one process', (1, 5, 20, 50)),
    Series('pieces', 'bytes of an answer in pieces of 64 KiB', (1 << 18, 1 << 22, 1 << 26), SIZE, 'MiB/s', True),
]


def measure(series, seconds, rounds, time, keep):
    """A series: for each value all contenders take turns, as in the comparison. What there is after each is kept."""
    points = {name: [] for name in series.contenders()}
    whole = {'key': series.key, 'title': series.title, 'unit': series.unit, 'logarithmic': series.logarithmic,
             'contenders': points}
    for value in series.values:
        if time.is_up():
            say(f'{series.title}: {value} and more are left out: no time was left')
            break
        with contextlib.ExitStack() as stack:
            running = start_all(stack, series, value)
            turns = {server.name: [] for server in running}
            for _, server in itertools.product(range(rounds), running):
                with contextlib.suppress(Missing):
                    turns[server.name].append(turn(server, series.asked(value), seconds, 2, series.clients(value)))
            for server in running:
                if not turns[server.name]:
                    continue
                point = {'value': value, 'rate': rate_of(series, value, turns[server.name]),
                         'memory': meter.memory(meter.processes(server))}
                points[server.name].append(point)
                say(f'{series.title}: {value}: {server.name}: {point["rate"]:.1f} {series.unit}, '
                    f'{point["memory"]["pss"] / 2**20:.1f} MiB')
        keep(whole)
    return whole


def start_all(stack, series, value):
    """Starts the contenders at a value, with as many clients at rest as the series wants."""
    running = []
    case = series.asked(value)
    for contender in contenders.named(series.contenders()):
        try:
            server = stack.enter_context(start(contender, case.application, case, shape=series.shape(value)))
            if series.key == 'idle':
                stack.enter_context(at_rest(server.port, value))
            for number in range(1, case.applications):
                server.request(case, f'/app{number}')
            load.run(server, case, 1, clients=series.clients(value))
        except (Missing, OSError, http.client.HTTPException) as why:
            say(f'{series.title}, {value}: {contender.name} is missing: {why}')
            continue
        running.append(server)
    return running


def rate_of(series, value, turns):
    """The median of the rounds, in the unit of the series; nothing where a request failed. A server that has fewer threads
    than clients closes connections that rest: that is no failure here."""
    rates = [in_unit(series, value, each) for each in turns]
    return statistics.median(0 if each['errors'] else rate for each, rate in zip(turns, rates))


def in_unit(series, value, turn):
    if series.unit == 'requests/s':
        return turn['rate']
    # Of large answers few are complete when a turn ends; of small ones the head is the larger part.
    bytes_each_second = turn['bytes'] / turn['seconds'] if value >= 1 << 20 else turn['rate'] * value
    return bytes_each_second / 2**20


@contextlib.contextmanager
def at_rest(port, count):
    """Connections that have asked once and stay."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(contextlib.closing(http.client.HTTPConnection('127.0.0.1', port, timeout=60)))
            connection.request('GET', '/')
            connection.getresponse().read()
        yield


def bend(points):
    """From which value to which a rate is within a tenth of its best."""
    best = max(point['rate'] for point in points)
    good = [point['value'] for point in points if point['rate'] >= 0.9 * best]
    return good[0], good[-1]
