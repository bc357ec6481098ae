//! The spend governor: money is reserved before it moves, and every answer can be recomputed.
//!
//! Invariants:
//! - [`State::apply`] is the only place where money is decided. It is pure: no clock, no randomness, no I/O.
//! - For every limit, what was captured plus what is held never exceeds it by an authorization.
//! - An answer leaves the [`owner`] only after the entry that proves it is on the disk.
//! - A [`snapshot`] is a convenience: the log alone gives the same state.
//!
//! Start with [`state`]; [`owner`] puts it behind a queue and a journal; [`replay`] runs it on a file of commands.

pub mod account;
mod ahead;
pub mod calendar;
pub mod change;
pub mod command;
mod consent;
pub mod counter;
mod derive;
pub mod digest;
mod expiry;
pub mod fault;
pub mod find;
mod image;
pub mod kind;
pub mod limit;
pub mod owner;
pub mod query;
mod record;
pub mod replay;
pub mod retention;
pub mod shard;
pub mod snapshot;
pub mod state;
pub mod whatif;

pub use ahead::AHEAD;
pub use calendar::{Unit, Zone};
pub use command::{Authorize, Command, Notice, Outcome, Policy, Resolution, Verdict};
pub use counter::Measure;
pub use digest::Digest;
pub use kind::{Field, LimitKind};
pub use limit::{Room, Standing};
pub use owner::{Decision, Handle, Owner, OwnerError, Settings};
pub use query::{AuthorizationView, ConsentView, LimitView, Status};
pub use shard::{Decoded, OpenError, decode, fold, fold_decoded};
pub use state::{Bounds, State};
