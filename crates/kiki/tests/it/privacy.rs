//! What people agree to, ask for and have erased.

mod consent;
mod erase_restore;
mod masters;
mod reports;
mod retention;
