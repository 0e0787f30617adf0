from django.apps import AppConfig


class DocumentsConfig(AppConfig):
    name = "example_project.documents"
    label = "documents"
    verbose_name = "Documents"
