# Topics and subscriptions as `python manage.py i3tasks_ensure_pubsub` would make them.

resource "google_pubsub_topic" "queue" {
  for_each = merge(var.push_queues, var.pull_queues)

  name = "${var.namespace}.${replace(each.key, ".", "-")}"
}

resource "google_pubsub_subscription" "push" {
  for_each = var.push_queues

  name                 = "${google_pubsub_topic.queue[each.key].name}.${replace(each.value, ".", "-")}"
  topic                = google_pubsub_topic.queue[each.key].id
  ack_deadline_seconds = 600

  push_config {
    push_endpoint = local.push_endpoint

    oidc_token {
      service_account_email = google_service_account.pusher.email
      audience              = local.push_endpoint
    }
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  expiration_policy {
    ttl = ""
  }
}

resource "google_pubsub_subscription" "pull" {
  for_each = var.pull_queues

  name                 = "${google_pubsub_topic.queue[each.key].name}.${replace(each.value, ".", "-")}"
  topic                = google_pubsub_topic.queue[each.key].id
  ack_deadline_seconds = 60

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  expiration_policy {
    ttl = ""
  }
}
