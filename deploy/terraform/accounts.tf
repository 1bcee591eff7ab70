# Each service is an account of its own, by what it runs as: no key of any of them exists.

resource "google_service_account" "service" {
  for_each = toset(["receiver", "worker", "beat"])

  account_id   = "i3tasks-${each.key}"
  display_name = "i3tasks: the ${each.key}"
}

resource "google_service_account" "pusher" {
  account_id   = "i3tasks-pusher"
  display_name = "i3tasks: in whose name Pub/Sub pushes"
}

# Pub/Sub signs its pushes in that account's name.
resource "google_service_account_iam_member" "pubsub_signs" {
  service_account_id = google_service_account.pusher.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
}

# All three ring: what follows a task is published by whoever ended it, what is due by whoever saw it.
resource "google_pubsub_topic_iam_member" "publishes" {
  for_each = {
    for pair in setproduct(keys(google_service_account.service), keys(google_pubsub_topic.queue)) :
    "${pair[0]}-${pair[1]}" => { service = pair[0], queue = pair[1] }
  }

  topic  = google_pubsub_topic.queue[each.value.queue].name
  role   = "roles/pubsub.publisher"
  member = google_service_account.service[each.value.service].member
}

resource "google_pubsub_subscription_iam_member" "pulls" {
  for_each = google_pubsub_subscription.pull

  subscription = each.value.name
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.service["worker"].member
}

resource "google_secret_manager_secret_iam_member" "reads" {
  for_each = {
    for pair in setproduct(keys(google_service_account.service), distinct(values(var.secrets))) :
    "${pair[0]}-${pair[1]}" => { service = pair[0], secret = pair[1] }
  }

  secret_id = each.value.secret
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.service[each.value.service].member
}
