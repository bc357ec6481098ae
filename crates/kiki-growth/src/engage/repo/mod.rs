//! All SQL of engage. Every function takes the tenant.

pub(super) mod campaigns;
pub(super) mod messages;
pub(super) mod personal;
#[cfg(test)]
mod tests;
