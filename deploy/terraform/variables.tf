variable "project" {
  description = "Google Cloud project that all of it lies in."
  type        = string
}

variable "region" {
  description = "Region of the services."
  type        = string
}

variable "namespace" {
  description = "I3TasksSettings.namespace: prefix of topics and subscriptions."
  type        = string
}

variable "push_queues" {
  description = "Subscription name of each PushQueue, by queue name."
  type        = map(string)
  default     = { default = "receiver" }
}

variable "pull_queues" {
  description = "Subscription name of each PullQueue, by queue name. Each has a worker pool of its own."
  type        = map(string)
  default     = { heavy = "worker" }
}

variable "images" {
  description = "Your project on top of each service's image, by service: receiver, worker, beat."
  type        = map(string)
}

variable "environment" {
  description = "Environment of all services, DJANGO_SETTINGS_MODULE among it."
  type        = map(string)
}

variable "secrets" {
  description = "Secret Manager's secrets that become environment variables: their ids by the variable's name."
  type        = map(string)
  default     = {}
}

variable "worker_count" {
  description = "Instances of each worker pool."
  type        = number
  default     = 1
}

variable "beat" {
  description = "What fires schedules and repairs: a pool of one instance, or a scheduler's call once a minute."
  type        = string
  default     = "pool"

  validation {
    condition     = contains(["pool", "scheduler"], var.beat)
    error_message = "Write pool or scheduler."
  }
}
