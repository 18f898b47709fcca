# Describes the interpreter that runs it: one line for each property, with NUL between the values. The values are bytes, because a path
# need not be text.
import os, sys, sysconfig
def write(*values):
    sys.stdout.buffer.write(b'\0'.join(os.fsencode(str(value)) for value in values) + b'\n')
of = lambda name: sysconfig.get_config_var(name) or ''
write('version', *sys.version_info[:3])
write('program', sys.executable)
write('venv', int(sys.prefix != sys.base_prefix))
write('suffix', of('EXT_SUFFIX'))
write('site', sysconfig.get_path('platlib'), sysconfig.get_path('purelib'))
names = [of('INSTSONAME'), of('LDLIBRARY'), 'libpython%s.so.1.0' % of('LDVERSION')]
places = [os.path.join(sys.base_prefix, 'lib'), os.path.join(of('LIBDIR'), of('MULTIARCH')), of('LIBDIR'), of('LIBPL')]
libraries = [os.path.join(p, n) for n in names if '.so' in n for p in places if p]
write('libraries', *libraries)
