//! Requests and answers. Answers are read tolerantly: members that this version does not know are passed over.

mod budget;
mod control;
mod rfc3339;
mod spending;

pub use budget::{Amount, Budget, BudgetMode, Limit, LimitStanding, NewBudget};
pub use control::{Consents, Health, Intent, Stop, Verdict, Vote};
pub use spending::{Authorization, Decision, Recorded, Request, State};
