"""The project's addresses: the admin, and the i3 routes."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("", RedirectView.as_view(url="/admin/")),
    path("admin/", admin.site.urls),
    path("i3/", include("i3tasks_django.urls")),
]
