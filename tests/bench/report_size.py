"""Reports in Markdown of what changes with size or with time: the scale, starts, growth."""
import statistics

import asked
import cases
import growth
import scale
from installation import SOURCE
from report import number, origin, table, titled


def bends():
    """Why curves bend where they do, by key of the series."""
    parts = (SOURCE / 'bends.md').read_text().split('\n## ')[1:]
    return {part.partition('\n')[0].strip(): part.partition('\n')[2].strip() for part in parts}


def of_scale(record):
    """The whole report of the scale."""
    parts = [origin(record)]
    reasons = bends()
    for series in record['scale']:
        if any(series.get('contenders', {}).values()):
            parts.append(of_series(series) + '\n' + reasons.get(series['key'], '') + '\n')
    return '\n'.join(parts)


def of_series(series):
    found = {name: points for name, points in series['contenders'].items() if points}
    values = sorted({point['value'] for points in found.values() for point in points})
    head = [series['title'], *(f'{name}: {what}' for name in found for what in (series['unit'], 'PSS MiB'))]
    rows = [[f'{value:,}', *of_point(found, value)] for value in values]
    bent = '; '.join(f'{name} from {first:,} to {last:,}' for name, (first, last) in
                     ((name, scale.bend(points)) for name, points in found.items()))
    return f'## {titled(series["title"])}\n\n' + table(head, rows) + f'\nWithin a tenth of its best: {bent}.\n'


def of_point(contenders, value):
    for points in contenders.values():
        point = next((point for point in points if point['value'] == value), None)
        yield number(point and point['rate'], ',.1f' if point and point['rate'] < 100 else ',.0f')
        yield number(point and point['memory']['pss'] / 2**20, '.1f')


def of_start(record):
    """From a start, and from a change, to the first answer."""
    text = origin(record) + f"The median of {record['method']['rounds']} starts, the least and the most, in ms.\n"
    for title, found in (('From the start to the first answer, in ms', record['start_up']),
                         ('From a change of the script to the first answer of new code, in ms', record['reload'])):
        applications = list(dict.fromkeys(application for by_application in found.values() for application in by_application))
        rows = [[name, *(of_times(by_application.get(application)) for application in applications)]
                for name, by_application in found.items()]
        text += f'\n## {title}\n\n' + table(['', *applications], rows)
    return text + '\n' + bends().get('start-up', '') + '\n'


def of_times(seconds):
    if not seconds:
        return '–'
    return f'{statistics.median(seconds) * 1000:.0f} ({min(seconds) * 1000:.0f} – {max(seconds) * 1000:.0f})'


def of_growth(record):
    """How memory goes on with the number of requests."""
    rows = []
    titles = {case.key: case.title for case in growth.CASES}
    floor = growth.floor(record['growth'])
    for watched in record['growth']:
        points = watched['points']
        if len(points) < 3:
            why = watched.get('missing', 'not measured')[:100]
            rows.append([f"{titles[watched['case']]}, {watched['contender']}", why, *[''] * 7])
            continue
        by_pss = dict(enumerate(growth.series_of(watched, 'pss')))
        for place, (role, series) in enumerate(growth.series_of(watched)):
            grown, slope = growth.growth(series)
            rows.append([
                f"{titles[watched['case']]}, {watched['contender']}", role, f'{points[-1]["requests"]:,}',
                *(f'{size / 2**20:.2f}' for _, size in (series[0], series[1], series[2], series[-1])),
                f'{by_pss[place][1][-1][1] / 2**20:.2f}', asked.beside(asked.GROWTH / 2**20, grown / 2**20, at_least=False),
                f'{slope / 1024:+.1f}' + (' **missed**' if slope > floor + asked.SLOPE else '')])
    head = ['', 'process', 'requests', 'RSS MiB at first', 'warm', 'after 100,000', 'at the end', 'PSS MiB at the end',
            'growth in 100,000, asked / measured', 'KiB that a further 100,000 usually adds']
    return origin(record) + '\n' + table(head, rows) + '\n' + bends().get('growth', '') + '\n'
