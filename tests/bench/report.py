"""A report in Markdown of the raw results."""
import json

import cases
import scale
from contenders import OURS, OURS_DAEMON
from figures import Figures, counterpart
from installation import SOURCE

UNITS = 'requests/s'


def table(head, rows):
    """A table of Markdown; the first column is text, the others are figures."""
    lines = [head, ['---'] + ['---:'] * (len(head) - 1), *rows]
    return '\n'.join('| ' + ' | '.join(map(str, line)) + ' |' for line in lines) + '\n'


def number(value, form=',.0f'):
    return '–' if value is None else format(value, form)


def spread(ratio):
    return '–' if ratio is None else f'**{ratio[0]:.2f}** ({ratio[1]:.2f} – {ratio[2]:.2f})'


def of_case(figures, case):
    """The table of one case."""
    cores = figures.cores()
    head = [''] + [f'{UNITS}, {count} core{"s" if count > 1 else ""}' for count in cores] \
        + [f'ours / it, {count}' for count in cores] + ['CPU s / 10,000', 'p50 µs', 'p99 µs', 'RSS MiB', 'PSS MiB']
    rows = []
    for name in figures.contenders(case.key):
        ours = counterpart(name)
        first = cores[0]
        rates = ['failed requests' if figures.failed(case.key, name, count) else number(figures.median(case.key, name, count))
                 for count in cores]
        ratios = ['' if name in (OURS, OURS_DAEMON) else spread(figures.ratio(case.key, count, ours, name)) for count in cores]
        memory = figures.memory(case.key, name)
        rows.append([name, *rates, *ratios, number(figures.median(case.key, name, first, 'cpu_per_10k'), '.2f'),
                     number(figures.median(case.key, name, first, 'p50')), number(figures.median(case.key, name, first, 'p99')),
                     number(memory['rss'] / 2**20, '.1f'), number(memory['pss'] / 2**20, '.1f')])
    return f'### {case.title[0].upper()}{case.title[1:]}\n\n' + table(head, rows)


def of_counts(counts):
    """The tables of what was counted."""
    if not counts:
        return ''
    floor = counts.get('floor', {}).get('instructions', {})
    rows = []
    for name, counted in counts.items():
        instructions = counted.get('instructions', {})
        over = [number(instructions[kind] - floor[kind]) if kind in instructions and kind in floor else '–'
                for kind in ('wrk', 'chrome')]
        calls = counted.get('system_calls')
        listed = ', '.join(f'{call} {count:.1f}' for call, count in sorted((calls or {}).items(), key=lambda item: -item[1]))
        rows.append([name, *over, number(sum(calls.values()) if calls else None, '.1f'), listed])
    head = ['', 'instructions over the floor, plain', 'of a browser', 'system calls', 'which']
    text = ('\n## Instructions and system calls of a request\n\n'
            'In user space, in all processes that take part, for a hello. The floor itself: '
            f'{number(floor.get("wrk"))} for a plain request, {number(floor.get("chrome"))} for that of a browser.\n\n')
    return text + table(head, rows)


def of_missing(record):
    rows = [[name, ', '.join(sorted(by_case)), next(iter(by_case.values())).replace('|', '/')[:200]]
            for name, by_case in record['missing'].items()]
    return '\n## Missing\n\n' + (table(['', 'case', 'why'], rows) if rows else 'Nobody is missing.\n')


def of_run(record):
    """The whole report of a run."""
    figures = Figures(record)
    keys = {result['case'] for result in record['results']}
    parts = [of_case(figures, case) for case in cases.ALL if case.key in keys]
    return origin(record) + '\n## Rates\n\n' + '\n'.join(parts) + of_counts(record.get('counts')) + of_missing(record)


def origin(record):
    machine, method = record['machine'], record['method']
    return (f"Commit {record['commit']}, {record['date'][:10]}, on {machine['processors']} processors "
            f"({machine['processor']}), {machine['memory'] / 2**30:.0f} GiB, Linux {machine['kernel']}. "
            f"{method['rounds']} rounds of {method['seconds']} s.\n")


def of_scale(record):
    """The whole report of the scale."""
    parts = [origin(record)]
    for series in record['scale']:
        values = sorted({point['value'] for points in series['contenders'].values() for point in points})
        head = [series['title'], *(f'{name}: {what}' for name in series['contenders'] for what in (series['unit'], 'PSS MiB'))]
        rows = [[f'{value:,}', *of_point(series, value)] for value in values]
        parts.append(f'## {series["title"][0].upper()}{series["title"][1:]}\n\n' + table(head, rows))
    if record['start_up']:
        applications = list(next(iter(record['start_up'].values())))
        rows = [[name, *(start_up(by_application.get(application)) for application in applications)]
                for name, by_application in record['start_up'].items()]
        parts.append('## From the start to the first answer, in ms\n\n' + table(['', *applications], rows))
    return '\n'.join(parts)


def of_point(series, value):
    for points in series['contenders'].values():
        point = next((point for point in points if point['value'] == value), None)
        yield number(point and point['rate'])
        yield number(point and point['memory']['pss'] / 2**20, '.1f')


def start_up(seconds):
    if not seconds:
        return '–'
    ordered = sorted(seconds)
    return f'{ordered[len(ordered) // 2] * 1000:.0f} ({ordered[0] * 1000:.0f} – {ordered[-1] * 1000:.0f})'


def write_page(page):
    """Writes the page of the benchmarks from the raw results that lie in the directory of its charts."""
    directory = page.parent / page.stem
    read = {name: json.loads((directory / f'{name}.json').read_text())
            for name in ('comparison', 'scale') if (directory / f'{name}.json').exists()}
    parts = [(SOURCE / 'page.md').read_text()]
    if 'comparison' in read:
        parts.append('# The comparison\n\n' + of_run(read['comparison']))
    if 'scale' in read:
        parts.append('# The scale\n\n' + of_scale(read['scale']))
    text = '\n'.join(with_charts(part, directory) for part in parts)
    page.write_text(text)


def with_charts(text, directory):
    """The text with each chart under the heading that it belongs to."""
    titles = {case.title: case.key for case in cases.ALL} | {series.title: f'scale-{series.key}' for series in scale.ALL} \
        | {'from the start to the first answer, in ms': 'scale-start-up'}
    lines = []
    for line in text.splitlines():
        lines.append(line)
        heading = line.lstrip('#').strip()
        name = next((name for title, name in titles.items() if title.lower() == heading.lower()), None)
        if line.startswith('#') and name and (directory / f'{name}.svg').exists():
            lines += ['', f'![{heading}]({directory.name}/{name}.svg)']
    return '\n'.join(lines) + '\n'
