//! Stand-ins for the outside world: they behave like the real provider, faults included, keep what they received and
//! show it. Nothing leaves the machine.
//!
//! So far: the [`mailbox`].

pub mod mailbox;
