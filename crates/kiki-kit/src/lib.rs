//! Platform kit: configuration, telemetry, health, HTTP server, problems, authorisation, shutdown.
