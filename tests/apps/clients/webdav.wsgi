"""WsgiDAV with a directory that one user, known by digest, may write to."""
from wsgidav.wsgidav_app import WsgiDAVApp

application = WsgiDAVApp({
    'provider_mapping': {'/': '@root@/data/files'},
    'mount_path': '/dav',
    'property_manager': True,
    'lock_storage': True,
    'simple_dc': {'user_mapping': {'*': {'margaret': {'password': 'secret'}}}},
    'verbose': 1,
})
