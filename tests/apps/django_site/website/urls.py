from django.contrib import admin
from django.urls import path, re_path
from django.views.generic import RedirectView

from . import views

urlpatterns = [
    path('admin/', admin.site.urls),
    path('', views.index, name='index'),
    path('write/', views.write, name='write'),
    re_path(r'^entry/(?P<slug>[-\w]+)/$', views.entry, name='entry'),
    path('entry/<int:pk>/attachment', views.attachment, name='attachment'),
    path('visits/', views.visits),
    path('upload/', views.upload),
    path('stream/', views.stream),
    path('release/', views.release),
    path('who/<int:number>/', views.who),
    path('old/', RedirectView.as_view(pattern_name='index', permanent=True)),
    path('broken/', views.broken),
    path('broken-stream/', views.broken_stream),
]
