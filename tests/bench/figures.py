"""From the raw results to the figures in a report: medians, and ratios round by round."""
import statistics

import load
from contenders import ALL, OURS, OURS_DAEMON


class Figures:
    """The results of a run, by case, contender and number of cores."""

    def __init__(self, record):
        self.record = record
        self.by_key = {(result['case'], result['contender'], result['cores']): result for result in record['results']}

    def contenders(self, case):
        """Those that were measured in a case, in the order of their turns."""
        return list(dict.fromkeys(name for key, name, _ in self.by_key if key == case))

    def cores(self):
        return sorted({key[2] for key in self.by_key})

    def rounds(self, case, contender, cores, what='rate'):
        """The values of each round; none where a request failed, as what is wrong is not fast."""
        result = self.by_key.get((case, contender, cores))
        if not result or self.failed(case, contender, cores):
            return []
        return [turn[what] for turn in result['rounds'] if what in turn]

    def failed(self, case, contender, cores):
        result = self.by_key.get((case, contender, cores))
        return bool(result) and not all(load.is_sound(turn) for turn in result['rounds'])

    def median(self, case, contender, cores, what='rate'):
        rounds = self.rounds(case, contender, cores, what)
        return statistics.median(rounds) if rounds else None

    def ratio(self, case, cores, ours, other):
        """Our rate over another's: the median of the rounds, the least and the most."""
        pairs = zip(self.rounds(case, ours, cores), self.rounds(case, other, cores))
        ratios = [mine / theirs for mine, theirs in pairs if theirs]
        return (statistics.median(ratios), min(ratios), max(ratios)) if ratios else None

    def memory(self, case, contender):
        result = self.by_key.get((case, contender, self.cores()[0]))
        return result['memory'] if result else None


def counterpart(name):
    """Which of ours a contender is compared with: daemons with the daemon, and what runs behind a proxy, too."""
    kind = {contender.name: contender.kind for contender in ALL}[name]
    return OURS if kind in ('none', 'embedded') else OURS_DAEMON
