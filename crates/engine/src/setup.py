# What is set up in each interpreter, where Python says it better than Rust. Run once in a name space of its own, which
# no application sees; nothing in here is on the path of an ordinary request.

import atexit
import importlib.machinery
import importlib.util
import io
import marshal
import operator
import os
import site
import sys
import threading
import traceback
import types


def add_site_directories(directories):
    """Adds directories as site directories (their .pth files are read) and moves what is new to the front, in the
    order of the list. An exception ends it; what came before stays."""
    before = set(sys.path)
    try:
        for directory in directories:
            site.addsitedir(directory)
    finally:
        new = [entry for entry in sys.path if entry not in before]
        sys.path[:] = new + [entry for entry in sys.path if entry in before]


def new_script(name, path):
    """An empty module for a script file."""
    module = types.ModuleType(name)
    loader = importlib.machinery.SourceFileLoader(name, path)
    module.__loader__ = loader
    module.__spec__ = importlib.machinery.ModuleSpec(name, loader, origin=path)
    module.__file__ = path
    module.__cached__ = None
    module.__builtins__ = __builtins__
    return module


def compile_script(source, path):
    """Compiles the bytes of a script, by its coding line."""
    if b"\0" in source:
        raise SyntaxError("source code cannot contain null bytes", (path, None, None, None))
    code = compile(source, path, "exec", dont_inherit=True)
    if not hasattr(sys, "_is_gil_enabled") or sys._is_gil_enabled():
        return code
    # Threads would take turns at counting the references to its constants; those of code that was read are not counted.
    return marshal.loads(marshal.dumps(code))


def traceback_lines(exception):
    """The report of an exception as lines, chained ones and all frames included."""
    try:
        text = "".join(traceback.format_exception(type(exception), exception, exception.__traceback__))
    except Exception:  # an exception whose own __str__ raises, for example
        text = "{0}: <the traceback could not be formatted>".format(type(exception).__name__)
    return [line for line in text.splitlines() if line.strip()]


def stack_lines():
    """Where the calling thread is."""
    text = "".join(traceback.format_stack(sys._getframe(1)))
    return [line for line in text.splitlines() if line.strip()]


class TextIOWrapper(io.TextIOWrapper):
    """A text stream that serves another request when nothing has been left on it. What changes its ways leaves a mark."""

    def reconfigure(self, **ways):
        self.reconfigured = True
        super().reconfigure(**ways)

    def detach(self):
        self.detached = True
        return super().detach()


def text_stream(raw):
    """A text stream that hands every write on at once."""
    return TextIOWrapper(raw, encoding="utf-8", errors="replace", line_buffering=True, write_through=True)


def package_path():
    """Where an installed package named mod_wsgi has its submodules."""
    spec = importlib.util.find_spec("mod_wsgi")
    return list(spec.submodule_search_locations or []) if spec else None


def apache_module():
    """The module `apache` that a user has, or a new one."""
    try:
        import apache
    except ImportError:
        apache = sys.modules["apache"] = types.ModuleType("apache")
    return apache


def let_go_of_importer():
    """Before 3.13, threading waits at the end for the thread that imported it, if that is another one: a thread of the
    server, which is not going to end its thread state. It must not count as stopped either: that says to threading
    that all others have been waited for."""
    importer = threading.main_thread()
    lock = getattr(importer, "_tstate_lock", None)
    if importer.ident != threading.get_ident() and lock is not None and lock.locked():
        lock.release()


def finish():
    """What happens at the end of an interpreter while everything in it still works: its threads that are not daemon
    threads are joined and its atexit functions run. Returns the exceptions of the latter."""
    raised = []
    hook = sys.unraisablehook
    sys.unraisablehook = lambda unraisable: raised.append(unraisable.exc_value)
    try:
        let_go_of_importer()
        try:
            threading._shutdown()
        except SystemExit:
            # Told to end: threads are not waited for any longer.
            pass
        atexit._run_exitfuncs()
    except BaseException as exception:
        raised.append(exception)
    finally:
        sys.unraisablehook = hook
    # Python flushes it once more in the end, and takes what a restricted one raises for a failure of the process.
    if type(sys.stdout).__name__ == "Restricted":
        sys.stdout = None
    return raised


def stacks(ident):
    """Where a thread is, or all threads are, as lines."""
    lines = []
    for thread, frame in sys._current_frames().items():
        if ident is None:
            lines.append("Thread {0}:".format(thread))
        if ident is None or thread == ident:
            text = "".join(traceback.format_stack(frame))
            lines.extend(line for line in text.splitlines() if line.strip())
    return lines


def settle_in():
    """Takes away what the command line of a worker has left behind."""
    sys.argv[:] = ["mod_wsgi"]
    while "" in sys.path:
        sys.path.remove("")


def use_locale(name):
    """Uses a locale; whether it is there."""
    import locale

    os.environ["LC_ALL"] = name
    try:
        locale.setlocale(locale.LC_ALL, name)
    except locale.Error:
        return False
    return True


def write_stacks_on(number, file):
    """Registers a signal whose handler writes the stacks of all threads without taking the lock of the interpreter."""
    try:
        import faulthandler

        faulthandler.register(number, file=file, all_threads=True, chain=False)
    except Exception:
        pass


def exit_on_sigterm():
    """SIGTERM ends the script that is running, unless it has its own way."""
    import signal

    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())


def publish(callbacks, name, payload):
    """Calls each callback with an event; a dict that one returns changes the payload for those after it. Returns what
    they raised."""
    raised = []
    for callback in list(callbacks):
        try:
            result = callback(name, **payload)
            if isinstance(result, dict):
                payload.update(result)
        except BaseException as exception:
            raised.append(exception)
    return raised


def exception_info(exception):
    """An exception as sys.exc_info() shows it."""
    return type(exception), exception, exception.__traceback__


def log_handler(control):
    """The class mod_wsgi.LogHandler; made when somebody asks for it, as logging takes time to import."""
    import logging

    class LogHandler(logging.Handler):
        """Writes the records of the logging module to the server's error log, at the level that corresponds."""

        def emit(self, record):
            level = operator.index(record.levelno)
            if not control.logged(level):
                return
            try:
                text = self.format(record)
            except Exception:
                self.handleError(record)
                return
            control.log(level, text, getattr(record, "pathname", None) or "", getattr(record, "lineno", None) or 0)

    LogHandler.__module__ = "mod_wsgi"
    LogHandler.__qualname__ = "LogHandler"
    return LogHandler


def prepare_module(module, control):
    """Gives mod_wsgi its functions, and the attributes that are made when somebody asks for them."""
    functions = (
        "subscribe_events",
        "subscribe_shutdown",
        "subscribe_signals",
        "request_data",
        "start_recording_metrics",
        "request_metrics",
        "process_metrics",
        "server_metrics",
    )
    for name in functions:
        setattr(module, name, getattr(control, name))
    late = {"LogHandler": lambda: log_handler(control), "active_requests": control.active_requests}

    def __getattr__(name):
        if name not in late:
            raise AttributeError("module {!r} has no attribute {!r}".format(module.__name__, name))
        value = late[name]()
        setattr(module, name, value)
        return value

    module.__getattr__ = __getattr__
    module.__dir__ = lambda: sorted(set(vars(module)) | set(late))


def use_egg_cache(directory):
    """Says where eggs are unpacked."""
    os.environ["PYTHON_EGG_CACHE"] = directory
