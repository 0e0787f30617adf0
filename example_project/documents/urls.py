from django.urls import path

from . import views

urlpatterns = [
    path("", views.home, name="home"),
    path("workspaces/<int:pk>/", views.workspace, name="workspace"),
    path("workspaces/<int:pk>/connected/", views.connected, name="connected"),
]
