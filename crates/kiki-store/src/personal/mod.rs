//! Personal data at rest: who a row is about, what keeps it readable, and what holds it.
//!
//! A person is known to tables by a random handle ([`SubjectId`]). What is said about the person is sealed under a secret
//! of that person alone; that secret is wrapped by the secret of an epoch, and that one by a [`MasterKey`].
//!
//! Invariants: who destroys a person's secret makes every sealed value about them unreadable, wherever copies of it lie;
//! no table holds a customer id in the clear; every table that holds something about people is declared by a
//! [`PersonalStore`].

pub mod master;
mod stores;
mod subject;

pub use master::MasterKey;
pub use stores::{
    Class, Cutoffs, Declared, Document, Expired, Form, NamedTwice, PersonalStore, Rectified, Stores, Table,
};
pub use subject::{Subject, SubjectId};
