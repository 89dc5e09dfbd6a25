"""How the harness speaks to a system: HTTP (httpx), broker (pika), database (psycopg)."""
