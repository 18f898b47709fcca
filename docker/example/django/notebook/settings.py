"""Settings of the example. SECRET_KEY and ALLOWED_HOSTS come from the environment of the container."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

# Without a key in the environment there is one for this process only: sessions end with the container.
SECRET_KEY = os.environ.get("SECRET_KEY") or os.urandom(32).hex()
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "localhost,127.0.0.1").split(",")
ROOT_URLCONF = "notebook.urls"
INSTALLED_APPS = ["django.contrib.staticfiles", "django.contrib.contenttypes", "notebook"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "data" / "notes.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Django makes its time zone that of the whole process, httpd's access log included.
TIME_ZONE = "UTC"
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "static"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
}
