//! SQL storage on SQLite or PostgreSQL: pool, migrations, outbox, idempotency.
