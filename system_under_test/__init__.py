"""The reference CRM: three services on PostgreSQL and RabbitMQ that speak over HTTP and events."""

__version__ = "1.0.0"
