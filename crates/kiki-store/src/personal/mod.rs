//! Personal data at rest: who a row is about, what keeps it readable, and what holds it.
//!
//! A person is known to tables by a random handle ([`SubjectId`]). What is said about the person is sealed under a secret
//! of that person alone; that secret is wrapped by the secret of an epoch, and that one by a [`MasterKey`]:
//!
//! ```text
//! master key           wraps the secrets of a few epochs; never sees data
//!   epoch              in keys/ring.json; renewed every two weeks, destroyed after four
//!     person           in SQL; seals values, and makes the pseudonym that stands for the person in the log
//! ```
//!
//! Erasing somebody is deleting one row. A backup of the database that still has it cannot be read once its epoch is
//! destroyed; one that is put back before is told by the register whom to erase again.
//!
//! Invariants: who destroys a person's secret makes every sealed value about them unreadable, wherever copies of it lie;
//! no table holds a customer id in the clear; every table that holds something about people is declared by a
//! [`PersonalStore`].
//!
//! Start with [`Subjects`].

pub mod master;

mod cache;
mod entries;
mod epoch;
mod erasing;
mod error;
mod faults;
mod files;
pub mod held;
mod hold;
mod job;
mod keyring;
mod minter;
mod moving;
mod opening;
mod register;
mod repo;
mod rotation;
mod sealed;
mod stores;
mod subject;
mod subjects;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod rotation_tests;

pub use entries::ERASED;
pub use erasing::Destroyed;
pub use error::KeysError;
pub use hold::{HOLDS_PAGE_MAX, Hold};
pub use job::KeyStatus;
pub use master::MasterKey;
pub use moving::Moved;
pub use repo::SUBJECT_COLUMNS;
pub use rotation::Rewrapped;
pub use sealed::Random;
pub use stores::{
    Class, Cutoffs, Declared, Document, Expired, Form, NamedTwice, PersonalStore, Rectified, Stores, Table,
};
pub use subject::{Cause, Mint, Subject, SubjectId, Unreadable};
pub use subjects::{Needs, Subjects};
