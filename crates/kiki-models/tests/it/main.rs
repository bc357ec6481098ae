//! The models as their users meet them: against figures computed elsewhere, and against customers they made themselves.
//!
//! `cfg(test)` is always on here; it tells the lints that helpers beside the tests are test code too.

#[cfg(test)]
mod data;
#[cfg(test)]
mod drift;
#[cfg(test)]
mod optima;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod refusals;
