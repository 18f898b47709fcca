"""The pages of the documentation, of the raw results that lie in the directory of their charts."""
import json

import asked
import cases
import growth
import report
import report_load
import report_size
import scale
import settings
from contenders import OURS, OURS_DAEMON
from figures import Figures, counterpart
from installation import SOURCE

HOW = {'comparison': report.of_comparison, 'settings': report.of_settings, 'load': report_load.of_load, 'scale': report_size.of_scale,
       'start-up': report_size.of_start, 'growth': report_size.of_growth}
ASKED = 'What was asked, and what came of it'
TITLES = {'comparison': 'The comparison', 'settings': 'Settings', 'load': 'Below, at and above the capacity', 'growth': 'Memory and the number of requests',
          'scale': 'The scale', 'start-up': 'Starts'}


def of_part(record):
    """The report of one part."""
    kind = record['part'].partition('-')[0]
    if kind == 'counts':
        return report.of_counts(record)
    return report.of_parallel([record]) if kind == 'parallel' else HOW[record['part']](record)


def write(page):
    """Writes the page of the benchmarks, and beside it the one that gives advice."""
    directory = page.parent / page.stem
    read = {path.stem: json.loads(path.read_text()) for path in sorted(directory.glob('*.json'))}
    read = {name: record for name, record in read.items() if 'part' in record}
    parts = [(SOURCE / 'page.md').read_text(), of_asked(read)]
    for name, title in TITLES.items():
        if name in read:
            parts.append(f'# {title}\n\n' + HOW[name](read[name]))
        if name == 'comparison':
            parts += of_pythons(read)
    page.write_text('\n'.join(with_charts(part, directory) for part in parts))
    (page.parent / 'fast.md').write_text(of_advice(read))


def of_advice(read):
    """The page that gives advice, with what was measured in its places."""
    text = (SOURCE / 'fast.md').read_text()
    tables = {key: report.of_setting(read['settings'], key) for key in read.get('settings', {}).get('settings', {})}
    if 'comparison' in read:
        tables['modes'] = report.of_modes(Figures(read['comparison']))
    for key in ('modes', *settings.ALL):
        text = text.replace(f'@{key}@\n', tables.get(key, 'Not measured yet.\n'))
    return text


def of_pythons(read):
    """What was counted and computed with each Python, the one of the comparison first."""
    counts = [report.of_counts(record) for name, record in read.items() if name.startswith('counts-')]
    if counts:
        yield '# Instructions and system calls of a request\n\nIn user space, in all processes that take part, for a hello.\n\n' \
            + '\n'.join(counts)
    records = [record for name, record in read.items() if name.startswith('parallel-')]
    if records:
        yield '# Two processors that compute\n\n' + report.origin(records[0]) + '\n' + report.of_parallel(records)


def of_asked(read):
    """What was asked, beside what was measured."""
    text = f'# {ASKED}\n\nEach cell: asked / measured. First our rate over theirs, on one core and on two.\n\n'
    if 'comparison' in read:
        text += of_ratios(Figures(read['comparison'])) + '\n'
    rows = list(of_others(read))
    text += report.table(['', 'asked / measured'], rows)
    return text + '\n' + (SOURCE / 'missed.md').read_text()


def of_ratios(figures):
    """Our rates over those of peers."""
    titles = {case.key: case.title for case in cases.ALL}
    rows = []
    for other, by_case in asked.RATIOS.items():
        cells = []
        for key in asked.CASES:
            both = by_case.get(key, (None, None))
            found = [figures.ratio(key, cores, counterpart(other), other) for cores in (1, 2)]
            cells += [asked.beside(limit, ratio and ratio[0]) for limit, ratio in zip(both, found)]
        rows.append([other, *cells])
    return report.table(['', *(f'{titles[key]}, {cores}' for key in asked.CASES for cores in (1, 2))], rows)


def of_others(read):
    """What was asked beside ratios."""
    for counted in (record for name, record in read.items() if name.startswith('counts-')):
        for name, kinds in asked.INSTRUCTIONS.items():
            measured = [report.over_floor(counted['counts'], name, kind) for kind in kinds]
            cells = [asked.beside(limit, value, at_least=False, form=',.0f') for limit, value in zip(kinds.values(), measured)]
            yield [f"instructions over the floor, plain and of a browser, {name}, Python {counted['python']}", ' and '.join(cells)]
    if 'comparison' in read:
        figures = Figures(read['comparison'])
        for cores in figures.cores():
            measured = figures.median('one', OURS_DAEMON, cores, 'p50')
            theirs = figures.median('one', 'mod_wsgi 6.1.1 daemon', cores, 'p50')
            yield [f'µs until half of one client\'s requests are answered, {OURS_DAEMON}, {cores} core{"s" if cores > 1 else ""} '
                   f'(mod_wsgi: {report.number(theirs)})', asked.beside(asked.P50, measured, at_least=False, form='.0f')]
    for found in (found for name, record in read.items() if name.startswith('parallel-') for found in record['parallel']):
        yield [f"computing on two processors over one lock, Python {found['python']}, {found['how']}",
               asked.beside(asked.PARALLEL, found['gain'])]
    yield from of_growth(read.get('growth', {}).get('growth', []))


def of_growth(watched):
    """What was asked of memory."""
    floor = growth.floor(watched)
    for each in watched:
        if len(each['points']) < 3 or each['contender'] == 'floor':
            continue
        *_, (_, series) = growth.series_of(each)
        grown, slope = growth.growth(series)
        name = f"{each['case']}, {each['contender']}"
        yield [f'MiB of growth in 100,000 requests, {name}', asked.beside(asked.GROWTH / 2**20, grown / 2**20, at_least=False)]
        to = f"{each['points'][-1]['requests']:,}"
        yield [f'KiB that each further 100,000 usually adds, to {to} (httpd itself: {floor / 1024:.0f}), {name}',
               asked.beside((floor + asked.SLOPE) / 1024, slope / 1024, at_least=False, form='.0f')]


def with_charts(text, directory):
    """The text with each chart under the heading that it belongs to."""
    titles = {case.title: case.key for case in cases.ALL} | {series.title: f'scale-{series.key}' for series in scale.ALL} \
        | {TITLES['start-up']: 'start-up', TITLES['growth']: 'growth', TITLES['settings']: 'settings', ASKED: 'asked'}
    by_heading = {title.lower(): name for title, name in titles.items()}
    lines = []
    for line in text.splitlines():
        lines.append(line)
        heading = line.lstrip('#').strip()
        name = by_heading.get(heading.lower())
        if line.startswith('#') and name and (directory / f'{name}.svg').exists():
            lines += ['', f'![{heading}]({directory.name}/{name}.svg)']
    return '\n'.join(lines) + '\n'
