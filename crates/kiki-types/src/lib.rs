//! Words that every part of KIKI shares.
//!
//! No I/O, no clock, no randomness: values come in, values go out. Start with [`money`]; the gate's
//! vocabulary is in [`principal`] (who may do what), [`purpose`] (what a customer agreed to), [`channel`] (how a
//! customer is reached) and [`event`] (what is written down). [`personal`] tells names of things from those of people.

pub mod channel;
pub mod event;
pub mod id;
pub mod money;
pub mod personal;
pub mod principal;
pub mod purpose;
pub mod tenant;
pub mod time;

pub use channel::{Bar, Channel};
pub use id::IdSource;
pub use money::{Currency, Money};
pub use principal::{ActorKind, Permission, Principal};
pub use purpose::Purpose;
pub use tenant::TenantId;
pub use time::UnixMillis;
