"""Durable background tasks for Django over Google Cloud Pub/Sub."""
