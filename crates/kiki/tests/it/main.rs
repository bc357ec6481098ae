//! The one integration binary of the workspace: what only holds when every part is there.
//!
//! A module per subject. `cfg(test)` is always on here; it tells the lints that helpers beside the tests are test code too.
#![expect(clippy::disallowed_methods, reason = "the tasks of a test end with it")]

#[cfg(test)]
mod architecture;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod client;
#[cfg(test)]
mod control;
#[cfg(test)]
mod cosigned;
#[cfg(test)]
mod durability;
#[cfg(test)]
mod governor;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod path;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod privacy;
#[cfg(test)]
mod proofs;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod shield;
#[cfg(test)]
mod ship;
#[cfg(test)]
mod soak;
#[cfg(test)]
mod strangers;
#[cfg(test)]
mod value;
#[cfg(test)]
mod webhooks;
#[cfg(test)]
mod whatif;
#[cfg(test)]
mod witness;
