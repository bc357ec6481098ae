//! What people agree to, ask for and have erased.

mod consent;
mod masters;
mod reports;
mod retention;
