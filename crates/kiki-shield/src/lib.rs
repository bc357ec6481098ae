//! SyncShield: spend, consent, subject requests and audit as a service.
