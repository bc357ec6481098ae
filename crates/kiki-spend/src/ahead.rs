//! Looks ahead of a batch: what its commands will touch is loaded for all of them at once.
//!
//! A decision walks from a path to its account to its limits, and with many budgets each step waits for memory. The steps
//! of one decision depend on each other; those of several do not, so loading them side by side hides most of the wait.
//! Nothing is decided here, and no answer changes.

use std::hint::black_box;

use crate::command::Command;
use crate::state::State;

/// Commands that are looked at together at the most.
pub const AHEAD: usize = 16;

impl State {
    /// Loads what the first [`AHEAD`] of `commands`, which are applied next, will touch.
    pub fn look_ahead<'a>(&mut self, commands: impl Iterator<Item = &'a Command>) {
        let accounts = self.accounts.look_ahead(commands.filter_map(path_of));
        let mut limits = [None; AHEAD];
        for (limit, account) in limits.iter_mut().zip(accounts) {
            *limit = account.and_then(|account| self.accounts.get(account).limits.first().copied());
        }
        let levels = limits.into_iter().flatten().map(|limit| self.limits[limit as usize].touch());
        // Loads whose value nobody uses would be left out.
        black_box(levels.fold(0, u64::wrapping_add));
    }
}

/// The account whose limits `command` is judged by, if it names one.
fn path_of(command: &Command) -> Option<&str> {
    match command {
        Command::Authorize(request) => Some(&request.path),
        Command::Record(record) => Some(&record.path),
        _ => None,
    }
}
