//! Requests and answers. Answers are read tolerantly: members that this version does not know are passed over.

mod budget;
mod consent;
mod control;
mod retention;
mod rfc3339;
mod spending;

pub use budget::{Amount, Budget, BudgetMode, Figure, Limit, LimitStanding, NewBudget};
pub use consent::{ConsentRecord, ConsentStanding, ConsentStands, Receipt};
pub use control::{Consents, Health, Intent, Ruling, Verdict, Vote};
pub use retention::{RetentionDue, RetentionPlan, RetentionRun};
pub use spending::{Authorization, Decision, Recorded, Request, State};
