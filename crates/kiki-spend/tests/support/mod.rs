//! What tests, the simulator and the fault suite share: the reference, histories from a seed, and the comparison.
#![allow(dead_code, reason = "each of them uses a part")]
#![allow(unreachable_pub, reason = "a module of several programs")]

pub mod compare;
pub mod dice;
pub mod generator;
pub mod reference;
pub mod shard;
