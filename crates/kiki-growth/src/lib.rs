//! Growth services: value (SyncValue) and engage (SyncEngage).

pub mod engage;
pub mod personal;
pub mod value;
