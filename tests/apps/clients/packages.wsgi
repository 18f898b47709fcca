"""pypiserver: everybody may list and download, one user may upload."""
import pathlib

import pypiserver

application = pypiserver.app(
    roots=[pathlib.Path('@root@/data/packages')],
    authenticate=['update'],
    auther=lambda user, password: (user, password) == ('margaret', 'secret'),
    disable_fallback=True,
)
