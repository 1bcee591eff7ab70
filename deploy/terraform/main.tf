terraform {
  required_version = ">= 1.5"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.49"
    }
  }
}

provider "google" {
  project = var.project
  region  = var.region
}

data "google_project" "this" {}

locals {
  # Known before the service is: its settings and its subscriptions both need it.
  receiver_url  = "https://i3tasks-receiver-${data.google_project.this.number}.${var.region}.run.app"
  push_endpoint = "${local.receiver_url}/i3/tasks-push/"

  environment = merge(var.environment, {
    GOOGLE_CLOUD_PROJECT = var.project
    PUSH_ENDPOINT        = local.push_endpoint
    PUSH_ACCOUNT         = google_service_account.pusher.email
  })
}

output "push_endpoint" {
  description = "What every PushQueue's push_endpoint and push_auth's audience must be."
  value       = local.push_endpoint
}
