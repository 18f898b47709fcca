"""Where everything is."""

from django.urls import path

from . import views

urlpatterns = [
    path("", views.notes),
    path("wait/<int:seconds>", views.wait),
]
