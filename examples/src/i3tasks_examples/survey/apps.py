from django.apps import AppConfig


class SurveyConfig(AppConfig):
    name = "i3tasks_examples.survey"
    label = "survey"
    default_auto_field = "django.db.models.BigAutoField"
