"""A list of notes with a form, and a page that takes its time."""

import logging
import time

import django
from django.http import HttpResponse
from django.shortcuts import redirect, render

from .models import Note

log = logging.getLogger(__name__)


def notes(request):
    if request.method == "POST":
        note = Note.objects.create(text=request.POST["text"])
        log.info("note %d was written", note.id)
        return redirect("/")
    return render(
        request, "notes.html", {"notes": Note.objects.order_by("-id")[:20], "version": django.get_version()}
    )


def wait(request, seconds):
    time.sleep(seconds)
    return HttpResponse(f"waited {seconds} s\n", content_type="text/plain")
