//! What clients were told, added up.

use std::collections::BTreeMap;

use serde_json::Value;

use super::budgets::{SUM, number};
use super::world::World;

/// Money that moved below an account, in millionths: what certainly did, and what nobody answered.
#[derive(Clone, Copy, Debug, Default)]
struct Moved {
    certain: i64,
    unsure: i64,
}

/// By topmost account.
#[derive(Debug, Default)]
pub(crate) struct Ledger(BTreeMap<String, Moved>);

impl Ledger {
    fn of(&mut self, account: &str) -> &mut Moved {
        let top = account.split('/').next().unwrap_or_default();
        self.0.entry(top.to_owned()).or_default()
    }

    /// Money moved; negative if it came back.
    pub(crate) fn moved(&mut self, account: &str, amount: i64) {
        self.of(account).certain += amount;
    }

    /// Money may have moved.
    pub(crate) fn may_have_moved(&mut self, account: &str, amount: i64) {
        self.of(account).unsure += amount;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (account, moved) in &other.0 {
            let sum = self.of(account);
            (sum.certain, sum.unsure) = (sum.certain + moved.certain, sum.unsure + moved.unsure);
        }
    }

    /// The budgets say what clients were told, give or take what nobody answered.
    pub(crate) fn compare(&self, world: &World, budgets: &[Value]) {
        for budget in budgets {
            let Some(top) = budget["id"].as_str().and_then(|id| id.strip_prefix(SUM)) else { continue };
            let Moved { certain, unsure } = self.0.get(top).copied().unwrap_or_default();
            let used = number(budget, "used").unwrap_or(-1);
            println!("soak: {top}: {certain} certain, {unsure} unsure, {used} used (millionths)");
            if !(certain..=certain + unsure).contains(&used) {
                world.violation(format!("{top}: clients know of {certain} and perhaps {unsure}, the budget of {used}"));
            }
        }
    }
}
