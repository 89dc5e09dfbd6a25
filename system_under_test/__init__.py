"""The reference CRM: three services on PostgreSQL and RabbitMQ that speak over HTTP and events."""
