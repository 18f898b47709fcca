import hashlib
import threading

from django import forms
from django.conf import settings
from django.http import FileResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from .models import Entry

released = threading.Event()


class EntryForm(forms.ModelForm):
    class Meta:
        model = Entry
        fields = ['title', 'text', 'attachment']


def index(request):
    return render(request, 'index.html', {'site': settings.SITE_NAME, 'entries': Entry.objects.all()})


def write(request):
    form = EntryForm(request.POST or None, request.FILES or None)
    if request.method == 'POST' and form.is_valid():
        return redirect(form.save())
    return render(request, 'write.html', {'form': form})


def entry(request, slug):
    return render(request, 'entry.html', {'entry': get_object_or_404(Entry, slug=slug)})


def attachment(request, pk):
    return FileResponse(get_object_or_404(Entry, pk=pk).attachment.open(), as_attachment=True)


def visits(request):
    request.session['visits'] = request.session.get('visits', 0) + 1
    return JsonResponse({'visits': request.session['visits']})


@csrf_exempt
@require_POST
def upload(request):
    digest = hashlib.md5()
    file = request.FILES['file']
    for chunk in file.chunks():
        digest.update(chunk)
    return JsonResponse({
        'name': file.name,
        'size': file.size,
        'md5': digest.hexdigest(),
        'spooled': hasattr(file, 'temporary_file_path'),
    })


def stream(request):
    released.clear()

    def pieces():
        yield 'the first piece\n'
        yield 'released\n' if released.wait(20) else 'never released\n'
    return StreamingHttpResponse(pieces(), content_type='text/plain')


def release(request):
    released.set()
    return JsonResponse({'released': True})


@csrf_exempt
def who(request, number):
    """Which site answers, in which interpreter, and that it sees this very request and its own data."""
    import mod_wsgi
    return JsonResponse({
        'site': settings.SITE_NAME,
        'group': mod_wsgi.application_group,
        'number': number,
        'posted': request.POST.get('number', ''),
        'entries': [e.title for e in Entry.objects.all()],
    })


def broken(request):
    raise LookupError('broken on purpose')


def broken_stream(request):
    def pieces():
        yield 'the first piece\n'
        raise LookupError('broken in the middle')
    return StreamingHttpResponse(pieces(), content_type='text/plain')
