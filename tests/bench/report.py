"""Reports in Markdown of the raw results of the comparison, of settings and of counts."""
import asked
import cases
import settings
from contenders import OURS, OURS_DAEMON
from figures import Figures, counterpart

VERSIONS = ('mod_wsgi', 'libapache2-mod-wsgi-py3', 'uWSGI', 'nginx', 'gunicorn', 'waitress', 'cheroot', 'granian', 'Flask', 'Django')
UNITS = 'requests/s'


def table(head, rows):
    """A table of Markdown; the first column is text, the others are figures."""
    lines = [head, ['---'] + ['---:'] * (len(head) - 1), *rows]
    return '\n'.join('| ' + ' | '.join(map(str, line)) + ' |' for line in lines) + '\n'


def number(value, form=',.0f'):
    return '–' if value is None else format(value, form)


def spread(ratio):
    return '–' if ratio is None else f'**{ratio[0]:.2f}** ({ratio[1]:.2f} – {ratio[2]:.2f})'


def titled(title):
    return title[0].upper() + title[1:]


def origin(record):
    """Where and when a record was made."""
    machine, method = record['machine'], record['method']
    turns = f" {method['rounds']} rounds of {method['seconds']} s" if 'seconds' in method else ''
    shorter = method.get('less', method.get('seconds')) != method.get('seconds')
    less = f", {method['less']} s for what was not asked" if shorter else ''
    return (f"Commit {record['commit']}, {record['date'][:10]}, on {machine['processors']} processors "
            f"({machine['processor']}), {machine['memory'] / 2**30:.0f} GiB, Linux {machine['kernel']}."
            f"{turns}{less}{'.' if turns else ''}\n")


def of_case(figures, case):
    """The table of one case."""
    cores = figures.cores()
    head = [''] + [f'{UNITS}, {count} core{"s" if count > 1 else ""}' for count in cores] \
        + [f'ours / it, {count}' for count in cores] + ['CPU s / 10,000', 'p50 µs', 'p99 µs', 'RSS MiB', 'PSS MiB']
    rows = []
    for name in figures.contenders(case.key):
        first = cores[0]
        rates = ['failed requests' if figures.failed(case.key, name, count) else number(figures.median(case.key, name, count))
                 for count in cores]
        ratios = ['' if name in (OURS, OURS_DAEMON) else spread(figures.ratio(case.key, count, counterpart(name), name))
                  for count in cores]
        memory = figures.memory(case.key, name) or {}
        rows.append([name, *rates, *ratios, number(figures.median(case.key, name, first, 'cpu_per_10k'), '.2f'),
                     number(figures.median(case.key, name, first, 'p50')), number(figures.median(case.key, name, first, 'p99')),
                     number(memory.get('rss', 0) / 2**20, '.1f'), number(memory.get('pss', 0) / 2**20, '.1f')])
    return f'### {titled(case.title)}\n\n' + table(head, rows)


def of_modes(figures):
    """Ours, embedded beside daemon."""
    both = ('embedded', 'daemon')
    head = [UNITS, *(f'{mode}, {cores} core{"s" if cores > 1 else ""}' for cores in figures.cores() for mode in both),
            'PSS MiB, embedded', 'daemon']
    rows = []
    for case in (case for case in cases.ALL if figures.contenders(case.key)):
        rates = [number(figures.median(case.key, name, cores)) for cores in figures.cores() for name in (OURS, OURS_DAEMON)]
        sizes = [number((figures.memory(case.key, name) or {}).get('pss', 0) / 2**20, '.1f') for name in (OURS, OURS_DAEMON)]
        rows.append([case.title, *rates, *sizes])
    return table(head, rows)


def of_missing(record):
    rows = [[name, ', '.join(sorted(by_case)), next(iter(by_case.values())).replace('|', '/')[:200]]
            for name, by_case in record['missing'].items()]
    return '\n## Missing\n\n' + (table(['', 'case', 'why'], rows) if rows else 'Nobody is missing.\n')


def of_comparison(record):
    """The whole report of a comparison."""
    figures = Figures(record)
    keys = {result['case'] for result in record['results']}
    parts = [of_case(figures, case) for case in cases.ALL if case.key in keys]
    return origin(record) + of_versions(record) + '\n## Rates\n\n' + '\n'.join(parts) + of_missing(record)


def of_versions(record):
    """What took part."""
    told = {name.lower(): version for name, version in record['versions'].items()}
    names = ('httpd', 'Python', *VERSIONS)
    return 'With ' + '; '.join(f'{name} {told[name.lower()]}' if name in VERSIONS else told[name.lower()] for name in names
                               if name.lower() in told) + '.\n'


def of_settings(record):
    """What settings change."""
    return origin(record) + '\n' + '\n'.join(of_setting(record, key) for key in record['settings'])


def of_setting(record, key):
    """The tables of one setting: each of its values beside the first of the same mode."""
    figures = Figures(record['settings'][key])
    parts = []
    for case in (case for case in cases.ALL if figures.contenders(case.key)):
        names = figures.contenders(case.key)
        rows = []
        for name in names:
            first = settings.compared_with(name, names)
            ratios = ['' if first == name else spread(figures.ratio(case.key, count, name, first)) for count in figures.cores()]
            rates = [number(figures.median(case.key, name, count)) for count in figures.cores()]
            rows.append([name, *rates, *ratios, number(figures.median(case.key, name, 1, 'cpu_per_10k'), '.2f'),
                         number(figures.memory(case.key, name)['pss'] / 2**20, '.1f')])
        head = [titled(case.title), *(f'{UNITS}, {count} core{"s" if count > 1 else ""}' for count in figures.cores()),
                *(f'over the first, {count}' for count in figures.cores()), 'CPU s / 10,000', 'PSS MiB']
        parts.append(table(head, rows))
    return '\n'.join(parts)


def over_floor(counts, name, kind):
    """Instructions of a request over the floor, in all processes."""
    there = [counts.get(who, {}).get(f'instructions {kind}') for who in (name, 'floor')]
    return None if None in there else sum(there[0].values()) - sum(there[1].values())


def by_process(counts, name, kind):
    """Instructions of a request over the floor, process by process."""
    there = [counts.get(who, {}).get(f'instructions {kind}') for who in (name, 'floor')]
    if None in there or len(there[0]) < 2:
        return ''
    return ', '.join(f'{role} {count - there[1].get(role, 0):,.0f}' for role, count in there[0].items() if count >= 1)


def of_counts(record):
    """The table of what was counted with one Python."""
    counts = record['counts']
    rows = []
    for name, counted in counts.items():
        calls = counted.get('system calls')
        listed = ', '.join(f'{call} {count:.1f}' for call, count in sorted((calls or {}).items(), key=lambda item: -item[1]))
        rows.append([name, *(number(over_floor(counts, name, kind)) for kind in ('wrk', 'chrome')), by_process(counts, name, 'wrk'),
                     number(sum(calls.values()) if calls else None, '.1f'), listed])
    head = ['', 'instructions over the floor, plain', 'of a browser', 'plain, where', 'system calls', 'which']
    floor = [number(sum(counts.get('floor', {}).get(f'instructions {kind}', {}).values())) for kind in ('wrk', 'chrome')]
    text = (f"## Python {record['python']}\n\n{origin(record)}The floor itself: {floor[0]} instructions "
            f"for a plain request, {floor[1]} for that of a browser.\n\n" + table(head, rows))
    missing = {f'{name}, {what}: {why}' for name, counted in counts.items() for what, why in counted.get('missing', {}).items()}
    return text + ''.join(f'\nNot counted: {line[:200]}\n' for line in sorted(missing))


def of_parallel(records):
    """How much more two processors compute, with all Pythons that were asked."""
    rows = [[f"{found['python']}, {found['how']}", f"{found['shared']:.1f}", f"{found['apart']:.1f}",
             asked.beside(asked.PARALLEL, found['gain'])] for record in records for found in record['parallel']]
    return table(['Python', f'{UNITS}, one lock', f'{UNITS}, without', 'times as many, asked / measured'], rows)
