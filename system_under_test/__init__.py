"""The reference CRM: three services on PostgreSQL and RabbitMQ that speak to each other over HTTP and events."""
