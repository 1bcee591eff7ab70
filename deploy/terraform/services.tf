resource "google_cloud_run_v2_service" "receiver" {
  name     = "i3tasks-receiver"
  location = var.region

  template {
    service_account = google_service_account.service["receiver"].email
    # As many as the receiver has threads, and as long as a push may take.
    max_instance_request_concurrency = 16
    timeout                          = "600s"

    scaling {
      min_instance_count = 0
      max_instance_count = 20
    }

    containers {
      image = var.images["receiver"]

      dynamic "env" {
        for_each = local.environment

        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = var.secrets

        content {
          name = env.key

          value_source {
            secret_key_ref {
              secret  = env.value
              version = "latest"
            }
          }
        }
      }

      startup_probe {
        period_seconds    = 1
        failure_threshold = 60

        http_get {
          path = "/health/live"
        }
      }

      liveness_probe {
        period_seconds = 20

        http_get {
          path = "/health/live"
        }
      }
    }
  }

  depends_on = [google_secret_manager_secret_iam_member.reads]
}

# The receiver checks Pub/Sub's token itself (push_auth). Were Cloud Run to check it, it would take the token's
# signature off before it hands the request on: let one of the two do it.
resource "google_cloud_run_v2_service_iam_member" "anybody_calls" {
  name     = google_cloud_run_v2_service.receiver.name
  location = var.region
  role     = "roles/run.invoker"
  member   = "allUsers"
}

locals {
  workers = {
    # Cloud Run takes fewer letters in a name than Pub/Sub does.
    for queue in keys(var.pull_queues) : "worker-${replace(lower(queue), "/[^a-z0-9-]/", "-")}" => {
      service     = "worker"
      count       = var.worker_count
      environment = { I3TASKS_QUEUE = queue }
    }
  }
  beats = var.beat == "pool" ? { beat = { service = "beat", count = 1, environment = {} } } : {}
}

resource "google_cloud_run_v2_worker_pool" "pool" {
  for_each = merge(local.workers, local.beats)

  name     = "i3tasks-${each.key}"
  location = var.region
  # It keeps nothing, and goes when its queue does, or when a scheduler's job takes the beat's place.
  deletion_protection = false

  scaling {
    manual_instance_count = each.value.count
  }

  template {
    service_account = google_service_account.service[each.value.service].email

    containers {
      image = var.images[each.value.service]

      dynamic "env" {
        for_each = merge(local.environment, each.value.environment)

        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = var.secrets

        content {
          name = env.key

          value_source {
            secret_key_ref {
              secret  = env.value
              version = "latest"
            }
          }
        }
      }
    }
  }

  depends_on = [google_secret_manager_secret_iam_member.reads]
}

resource "google_cloud_scheduler_job" "beat" {
  count = var.beat == "scheduler" ? 1 : 0

  name     = "i3tasks-beat"
  region   = var.region
  schedule = "* * * * *"

  http_target {
    http_method = "POST"
    uri         = "${local.receiver_url}/i3/tasks-beat/"

    # The beat's door opens to the token that pushes carry.
    oidc_token {
      service_account_email = google_service_account.pusher.email
      audience              = local.push_endpoint
    }
  }
}
