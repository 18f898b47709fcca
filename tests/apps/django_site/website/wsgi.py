"""WSGI config for the website."""
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ['DJANGO_SETTINGS_MODULE'] = 'website.settings'

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
