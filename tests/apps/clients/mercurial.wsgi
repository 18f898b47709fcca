"""hgweb, as Mercurial's own example for mod_wsgi has it."""
config = b'@root@/data/hgweb.config'

from mercurial import demandimport; demandimport.enable()

from mercurial.hgweb import hgweb
application = hgweb(config)
