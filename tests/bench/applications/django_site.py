"""A Django project in one file: a view that says hello, and one with a query on sqlite and a template.

DATABASE names the file; as a program this makes it.
"""
import os

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import connection, models
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path

ROWS = 20
PAGE = '''<!DOCTYPE html>
<html><head><title>{{ title }}</title></head><body><h1>{{ title|upper }}</h1>
<table>{% for entry in entries %}
<tr class="{% cycle 'odd' 'even' %}"><td>{{ entry.id }}</td><td>{{ entry.title }}</td><td>{{ entry.text|truncatewords:8 }}</td></tr>
{% empty %}<tr><td>Nothing</td></tr>{% endfor %}</table></body></html>
'''

settings.configure(
    SECRET_KEY='known to everybody who reads the benchmarks',
    ALLOWED_HOSTS=['*'],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=['django.middleware.security.SecurityMiddleware', 'django.middleware.common.CommonMiddleware',
                'django.middleware.csrf.CsrfViewMiddleware', 'django.middleware.clickjacking.XFrameOptionsMiddleware'],
    DATABASES={'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': os.environ['DATABASE'], 'CONN_MAX_AGE': None}},
    DEFAULT_AUTO_FIELD='django.db.models.BigAutoField',
    TEMPLATES=[{
        'BACKEND': 'django.template.backends.django.DjangoTemplates',
        'OPTIONS': {'loaders': [('django.template.loaders.locmem.Loader', {'page.html': PAGE})]},
    }],
)
django.setup()


class Entry(models.Model):
    title = models.CharField(max_length=100)
    text = models.TextField()

    class Meta:
        app_label = 'bench'


def hello(request):
    return HttpResponse('Hello World!', content_type='text/plain')


def page(request):
    return render(request, 'page.html', {'title': 'Entries', 'entries': Entry.objects.order_by('-id')[:ROWS]})


urlpatterns = [path('', hello), path('page', page)]
application = get_wsgi_application()


def make():
    with connection.schema_editor() as editor:
        editor.create_model(Entry)
    Entry.objects.bulk_create(Entry(title=f'Entry {number}', text='some words to be cut ' * 5) for number in range(100))


if __name__ == '__main__':
    make()
