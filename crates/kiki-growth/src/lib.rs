//! Growth services: value (SyncValue) and engage (SyncEngage).
