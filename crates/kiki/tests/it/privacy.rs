//! What people agree to, ask for and have erased.

mod apart;
mod consent;
mod erase_restore;
mod failing;
mod grep;
mod masters;
mod registered;
mod reports;
mod requests;
mod retention;
mod scale;
mod search;
