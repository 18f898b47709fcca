"""A contender that serves: started at a place of its own, and ended with it."""
import contextlib
import http.client
import os
import signal
import ssl
import subprocess
import tempfile
import time

import places
from installation import Missing, user

PATIENCE = 30
# Longest that it may take to its end, before it is killed.
END = 5
# Longest that a server may take to its first answer.
START = 60


class Running:
    """The programs of one contender. Ends with the `with` block that `start` opens."""

    def __init__(self, contender, place):
        self.contender, self.place = contender, place
        self.started = []

    @property
    def name(self):
        return self.contender.name

    @property
    def port(self):
        return self.place.port

    def begin(self, under=()):
        """Starts the programs, each under the command `under`, in which `@root@` stands for the place's directory."""
        self.begun = time.monotonic()
        under = [word.replace('@root@', str(self.place.root)) for word in under]
        options = {'user': user().pw_uid, 'group': user().pw_gid, 'extra_groups': []} if user() else {}
        with open(self.place.root / 'logs/said', 'wb') as log:
            for program in self.contender.programs(self.place):
                argv = [os.fspath(word) if isinstance(word, os.PathLike) else str(word) for word in (*under, *program.argv)]
                self.started.append(subprocess.Popen(
                    argv, cwd=self.place.root, env=self.place.environment(), stdin=subprocess.DEVNULL, stdout=log,
                    stderr=subprocess.STDOUT, start_new_session=True, **options))

    def request(self, case, path=None):
        """Asks what a case asks, once: status and length of the answer."""
        if self.place.tls:
            context = ssl._create_unverified_context()
            connection = http.client.HTTPSConnection('127.0.0.1', self.port, timeout=PATIENCE, context=context)
        else:
            connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request(case.method, path or case.path, body=b'x' * case.body or None, headers=case.sent_headers())
            answer = connection.getresponse()
            return answer.status, len(answer.read())

    def await_answer(self, case, patience=START):
        """Waits until the answer is right."""
        begun = time.monotonic()
        last = 'nothing'
        while time.monotonic() - begun < patience:
            if ended := [process for process in self.started if process.poll() is not None]:
                raise Missing(f'{ended[0].args[0]} ended with {ended[0].returncode}: {self.everything_said()}')
            try:
                last = self.request(case)
                # While what is behind a front end starts, the front end says that it is not there.
                if last[0] not in (502, 503, 504):
                    break
            except (OSError, http.client.HTTPException) as error:
                last = error
            time.sleep(0.002)
        if last != (200, case.size):
            raise Missing(f'{case.title}: answers {last} instead of 200 with {case.size} bytes: {self.everything_said()}')

    def everything_said(self):
        logs = [path.read_text(errors='replace') for path in sorted((self.place.root / 'logs').iterdir())]
        return ' | '.join('\n'.join(logs).strip().splitlines()[-3:])

    def end(self, patience=END):
        """Ends the programs; whether all did so by themselves."""
        # A front end first: what is behind it may wait for its connections.
        for process in reversed(self.started):
            process.send_signal(signal.SIGTERM)
        ended = True
        for process in reversed(self.started):
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                ended = False
        return ended


@contextlib.contextmanager
def start(contender, application, case=None, under=(), patience=START, **more):
    """Starts a contender with an application, in a directory that ends with it; waits for the answer to `case`."""
    # Some servers leave processes that write for a moment more.
    with tempfile.TemporaryDirectory(prefix='rustgi-bench-', ignore_cleanup_errors=True) as root:
        os.chmod(root, 0o755)
        running = Running(contender, places.make(f'{root}/server', application, **more))
        try:
            running.begin(under)
            if case:
                running.await_answer(case, patience)
                running.start_up = time.monotonic() - running.begun
            yield running
        finally:
            running.end()
