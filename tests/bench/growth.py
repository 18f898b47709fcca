"""Whether memory grows: what each process of a server holds after 100,000 requests, 200,000, and so on."""
import statistics

import cases
import load
import meter
from installation import Missing
from rounds import say
from running import start

STEP = 100_000
CASES = (cases.ALL[0], cases.MIXED)
# As much load as makes all threads serve, before the first measurement that counts.
WARM_UP = 1


def measure(contenders, requests, keep):
    """A record for each case and contender; what there is after each step is kept."""
    found = []
    for case in CASES:
        for contender in contenders:
            if contender.kind == 'none' and not case.with_floor:
                continue
            record = {'case': case.key, 'contender': contender.name, 'points': []}
            found.append(record)
            try:
                with start(contender, case.application, case) as server:
                    watch(server, case, requests, record, lambda: keep(found))
            except (Missing, OSError) as why:
                record['missing'] = str(why)
                say(f'{case.title}: {contender.name} is missing: {why}')
    return found


def watch(server, case, requests, record, keep):
    """Loads a server until it has answered so many requests, and measures at each step."""
    points = record['points']
    points.append(point(server, 1))
    begun = load.run(server, case, WARM_UP)
    done, rate = begun['requests'], begun['requests'] / begun['seconds']
    points.append(point(server, done))
    for mark in range(STEP, requests + 1, STEP):
        while done < mark:
            came = load.run(server, case, max(1, int((mark - done) / rate)))
            if not load.is_sound(came) or not came['requests']:
                raise Missing(f'requests failed: {came}')
            done += came['requests']
        points.append(point(server, done))
        keep()
        sizes = ', '.join(f"{each['role']} {each['rss'] / 2**20:.2f}" for each in points[-1]['processes'])
        say(f'{case.title}, {server.name}, {done:,} requests: RSS in MiB: {sizes}')


def point(server, done):
    """What the processes hold after so many requests."""
    parent = server.started[-1].pid
    return {'requests': done, 'processes': [
        {'pid': pid, 'role': meter.role(pid, parent), **meter.size_of(pid)} for pid in meter.processes(server)]}


def series_of(record, what='rss'):
    """Of each process that has lived all the time: its role, and its sizes by number of requests; and of all together.
    The resident size is what tells: the proportional one also changes when somebody else begins or ends to share pages."""
    points = record['points']
    pids = [each['pid'] for each in points[0]['processes']]
    lasting = [pid for pid in pids if all(pid in [each['pid'] for each in point['processes']] for point in points)]
    for pid in lasting:
        found = [next(each for each in point['processes'] if each['pid'] == pid) for point in points]
        yield found[0]['role'], [(point['requests'], each[what]) for point, each in zip(points, found)]
    yield 'all', [(point['requests'], sum(each[what] for each in point['processes'])) for point in points]


def growth(series):
    """Bytes by which a size grows from the warm-up to the first step, and what a further step usually adds. The median: a leak adds
    to every step, while what is filled once, as when one more thread comes to serve, adds to one."""
    after = series[2:]
    added = [(size - before) / (at - then) * STEP for (then, before), (at, size) in zip(after, after[1:])]
    return after[0][1] - series[1][1], statistics.median(added) if added else 0.0


def floor(watched):
    """Bytes by which httpd itself grows in each step, if that was watched: it too fills what it fills once, step by step, as
    threads come to serve that have not served before."""
    for record in watched:
        if record['contender'] == 'floor' and len(record['points']) > 2:
            *_, (_, series) = series_of(record)
            return max(0.0, growth(series)[1])
    return 0.0
