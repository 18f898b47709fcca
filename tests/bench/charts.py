"""Charts of the raw results. A program of its own, as it runs in the Python that has the plotting library:
`charts.py RESULTS.json DIRECTORY`."""
import json
import pathlib
import sys

import matplotlib

matplotlib.use('svg')
from matplotlib import pyplot  # noqa: E402

import cases  # noqa: E402
from contenders import OURS, OURS_DAEMON  # noqa: E402
from figures import Figures  # noqa: E402

# Text stays text, and the same results give the same file.
matplotlib.rcParams.update({'svg.fonttype': 'none', 'svg.hashsalt': 'bench', 'font.size': 9})
COLOURS = {OURS: '#1f6f8b', OURS_DAEMON: '#63a4b8', 'floor': '#bbbbbb'}
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


def lines(series, directory):
    """One series of the scale: a line for each contender, for rate and for memory."""
    figure, (rate, memory) = pyplot.subplots(1, 2, figsize=(9, 3.4))
    for name, points in series['contenders'].items():
        values = [point['value'] for point in points]
        style = {'marker': 'o', 'markersize': 3, 'label': name, 'color': COLOURS.get(name)}
        rate.plot(values, [point['rate'] for point in points], **style)
        memory.plot(values, [point['memory']['pss'] / 2**20 for point in points], **style)
    for panel, label in ((rate, series['unit']), (memory, 'PSS in MiB')):
        panel.set_xscale('log', base=2)
        panel.set_ylim(bottom=0)
        panel.set_xlabel(series['title'])
        panel.set_ylabel(label)
        panel.grid(alpha=0.3)
    if series.get('logarithmic'):
        rate.set_yscale('log')
    rate.legend(fontsize=7)
    save(figure, directory, f'scale-{series["key"]}')


def starts(record, directory):
    """Time from the start to the first answer."""
    names = list(record['start_up'])
    applications = list(next(iter(record['start_up'].values())))
    figure, panels = pyplot.subplots(1, len(applications), figsize=(3.6 * len(applications), 0.8 + 0.4 * len(names)), sharey=True)
    for panel, application in zip(panels, applications):
        medians = [sorted(record['start_up'][name].get(application) or [0])[len(record['start_up'][name].get(application) or [0]) // 2]
                   for name in names]
        panel.barh(names, [seconds * 1000 for seconds in medians], color=[COLOURS.get(name, OTHERS) for name in names])
        panel.set_title(application)
        panel.set_xlabel('ms to the first answer')
    save(figure, directory, 'scale-start-up')


def main():
    record = json.loads(pathlib.Path(sys.argv[1]).read_text())
    directory = pathlib.Path(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    if 'results' in record:
        figures = Figures(record)
        keys = {result['case'] for result in record['results']}
        for case in cases.ALL:
            if case.key in keys:
                rates(figures, case, directory)
    for series in record.get('scale', ()):
        lines(series, directory)
    if record.get('start_up'):
        starts(record, directory)


main()
