"""Charts of the raw results. A program of its own, as it runs in the Python that has the plotting library:
`charts.py RESULTS.json DIRECTORY`."""
import json
import pathlib
import statistics
import sys

import matplotlib

matplotlib.use('svg')
from matplotlib import pyplot  # noqa: E402

import asked  # noqa: E402
import cases  # noqa: E402
import growth  # noqa: E402
import scale  # noqa: E402
from contenders import FOUR, OURS, OURS_DAEMON  # noqa: E402
from figures import Figures, counterpart  # noqa: E402

# Text stays text, and the same results give the same file.
matplotlib.rcParams.update({'svg.fonttype': 'none', 'svg.hashsalt': 'bench', 'font.size': 9})
COLOURS = {OURS: '#1f6f8b', OURS_DAEMON: '#63a4b8', 'floor': '#bbbbbb', FOUR[2]: '#c0672c', FOUR[3]: '#e0a878'}
OTHERS = '#d08c60'


def save(figure, directory, name):
    figure.tight_layout()
    figure.savefig(directory / f'{name}.svg', metadata={'Date': None})
    pyplot.close(figure)
    print(directory / f'{name}.svg')


def rates(figures, case, directory):
    """Rates of all contenders in one case, a panel for each number of cores; whiskers from the least to the most."""
    names = figures.contenders(case.key)[::-1]
    cores = figures.cores()
    figure, panels = pyplot.subplots(1, len(cores), figsize=(4.5 * len(cores), 0.6 + 0.32 * len(names)), sharey=True, squeeze=False)
    for panel, count in zip(panels[0], cores):
        medians = [figures.median(case.key, name, count) or 0 for name in names]
        rounds = [figures.rounds(case.key, name, count) or [0] for name in names]
        errors = [[median - min(each) for median, each in zip(medians, rounds)],
                  [max(each) - median for median, each in zip(medians, rounds)]]
        panel.barh(names, medians, xerr=errors, color=[COLOURS.get(name, OTHERS) for name in names], ecolor='#444444')
        panel.set_title(f'{case.title}, {count} core{"s" if count > 1 else ""}')
        panel.set_xlabel('requests/s')
    save(figure, directory, case.key)


def ratios(figures, directory):
    """Our rates over those of peers, with what was asked as a mark."""
    figure, panels = pyplot.subplots(1, len(asked.CASES), figsize=(3 * len(asked.CASES), 3.4), sharey=True)
    names = list(asked.RATIOS)[::-1]
    for panel, key in zip(panels, asked.CASES):
        for cores, height in ((1, 0.2), (2, -0.2)):
            for place, name in enumerate(names):
                ratio = figures.ratio(key, cores, counterpart(name), name)
                limit = asked.RATIOS[name].get(key, (None, None))[cores - 1]
                if ratio:
                    panel.barh(place + height, ratio[0], 0.36, xerr=[[ratio[0] - ratio[1]], [ratio[2] - ratio[0]]], ecolor='#444444',
                               color='#1f6f8b' if cores == 1 else '#63a4b8', label=f'{cores} core{"s" if cores > 1 else ""}')
                if limit:
                    panel.plot([limit] * 2, [place + height - 0.2, place + height + 0.2], color='#c0392b', linewidth=2, label='asked')
        panel.axvline(1, color='#444444', linewidth=0.8)
        panel.set_yticks(range(len(names)), names)
        panel.set_title(next(case.title for case in cases.ALL if case.key == key))
        panel.set_xlabel('our rate / theirs')
    labels = dict(zip(*panels[0].get_legend_handles_labels()[::-1]))
    panels[-1].legend(labels.values(), labels.keys(), fontsize=7)
    save(figure, directory, 'asked')


def lines(series, directory):
    """One series of the scale: a line for each contender, for rate and for memory; dotted where our rate bends."""
    figure, (rate, memory) = pyplot.subplots(1, 2, figsize=(9, 3.4))
    for name, points in series['contenders'].items():
        if not points:
            continue
        values = [point['value'] for point in points]
        style = {'marker': 'o', 'markersize': 3, 'label': name, 'color': COLOURS.get(name)}
        rate.plot(values, [point['rate'] for point in points], **style)
        memory.plot(values, [point['memory']['pss'] / 2**20 for point in points], **style)
        if name in (OURS, OURS_DAEMON):
            for value in set(scale.bend(points)):
                rate.axvline(value, color=COLOURS[name], linestyle=':', linewidth=0.8)
    for panel, label in ((rate, series['unit']), (memory, 'PSS in MiB')):
        panel.set_xscale('log', base=2)
        panel.set_xlabel(series['title'])
        panel.set_ylabel(label)
        panel.grid(alpha=0.3)
    if series.get('logarithmic'):
        rate.set_yscale('log')
    else:
        rate.set_ylim(bottom=0)
    memory.set_ylim(bottom=0)
    rate.legend(fontsize=7)
    save(figure, directory, f'scale-{series["key"]}')


def starts(record, directory):
    """Time from the start, and from a change, to the first answer."""
    names = list(record['start_up'])[::-1]
    applications = list(next(iter(record['start_up'].values())))
    figure, rows = pyplot.subplots(2, len(applications), figsize=(3.6 * len(applications), 1.2 + 0.7 * len(names)), sharey=True,
                                   squeeze=False)
    for panels, found, title in zip(rows, (record['start_up'], record['reload']), ('start', 'change')):
        for panel, application in zip(panels, applications):
            medians = [statistics.median(found.get(name, {}).get(application) or [0]) for name in names]
            panel.barh(names, [seconds * 1000 for seconds in medians], color=[COLOURS.get(name, OTHERS) for name in names])
            panel.set_title(f'{application}, {title}')
            panel.set_xlabel('ms to the first answer')
    save(figure, directory, 'start-up')


def grown(record, directory):
    """What processes hold, by the number of requests: a panel for each case and contender."""
    watched = [each for each in record['growth'] if len(each['points']) > 2]
    figure, panels = pyplot.subplots(1, len(watched), figsize=(3.4 * len(watched), 3.2), squeeze=False)
    for panel, each in zip(panels[0], watched):
        for role, series in growth.series_of(each):
            panel.plot([at / 1e6 for at, _ in series], [size / 2**20 for _, size in series], marker='o', markersize=2, label=role)
        panel.set_ylim(bottom=0)
        panel.set_title(f"{each['case']}, {each['contender']}")
        panel.set_xlabel('million requests')
        panel.set_ylabel('RSS in MiB')
        panel.grid(alpha=0.3)
        panel.legend(fontsize=7)
    save(figure, directory, 'growth')


def varied(settings, directory):
    """Rates with settings of httpd's, a panel for each setting and case."""
    shown = [(figures, case) for figures in map(Figures, settings.values()) for case in cases.ALL if figures.contenders(case.key)]
    figure, panels = pyplot.subplots(1, len(shown), figsize=(5 * len(shown), 2.6), squeeze=False)
    for panel, (figures, case) in zip(panels[0], shown):
        names = figures.contenders(case.key)[::-1]
        for cores, height in ((1, 0.2), (2, -0.2)):
            panel.barh([place + height for place in range(len(names))], [figures.median(case.key, name, cores) or 0 for name in names],
                       0.36, color='#1f6f8b' if cores == 1 else '#63a4b8', label=f'{cores} core{"s" if cores > 1 else ""}')
        panel.set_yticks(range(len(names)), names)
        panel.set_title(case.title)
        panel.set_xlabel('requests/s')
        panel.legend(fontsize=7)
    save(figure, directory, 'settings')


def main():
    record = json.loads(pathlib.Path(sys.argv[1]).read_text())
    directory = pathlib.Path(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    if 'results' in record:
        figures = Figures(record)
        for case in cases.ALL:
            if figures.contenders(case.key):
                rates(figures, case, directory)
        ratios(figures, directory)
    for series in record.get('scale', ()):
        if any(series.get('contenders', {}).values()):
            lines(series, directory)
    if record.get('start_up'):
        starts(record, directory)
    if any(len(each['points']) > 2 for each in record.get('growth', ())):
        grown(record, directory)
    if any(each['results'] for each in record.get('settings', {}).values()):
        varied({key: each for key, each in record['settings'].items() if each['results']}, directory)


main()
