//! Protobuf messages, clients and servers, generated from `proto/`.
//!
//! Only services use this crate; engines speak in the types of their own crates.
#![allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::pedantic,
    reason = "generated code"
)]

/// What every service with personal data does for subject requests.
pub mod privacy {
    pub mod v1 {
        tonic::include_proto!("kiki.privacy.v1");
    }
}

/// SyncShield: authorizations, consent, audit.
pub mod shield {
    pub mod v1 {
        tonic::include_proto!("kiki.shield.v1");
    }
}

/// SyncValue: customer lifetime value.
pub mod value {
    pub mod v1 {
        tonic::include_proto!("kiki.value.v1");
    }
}
