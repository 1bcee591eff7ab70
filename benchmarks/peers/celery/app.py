from celery import Celery

app = Celery("bench")
app.config_from_object("django.conf:settings", namespace="CELERY")
