def _work():
    # What runs in the process of a worker before its engine does: no trace of this is to be left in __main__, in sys.path or
    # in the arguments that `ps` shows.
    import sys
    from importlib.machinery import ExtensionFileLoader
    from importlib.util import module_from_spec, spec_from_file_location

    del globals()['_work']
    if sys.path[:1] == [''] and not getattr(sys.flags, 'safe_path', False):
        del sys.path[0]
    engine, title = sys.argv[1], sys.argv[2]
    del sys.argv[1:]
    try:
        with open('/proc/self/stat', 'rb') as file:
            start, end = map(int, file.read().rpartition(b')')[2].split()[45:47])
        with open('/proc/self/mem', 'r+b', buffering=0) as memory:
            memory.seek(start)
            memory.write(title.encode(errors='surrogateescape')[:end - start - 1].ljust(end - start, b'\0'))
    except OSError:
        pass
    spec = spec_from_file_location('_rustgi', engine, loader=ExtensionFileLoader('_rustgi', engine))
    module = sys.modules['_rustgi'] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.work()


raise SystemExit(_work())
