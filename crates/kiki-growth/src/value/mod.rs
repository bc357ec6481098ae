//! SyncValue: what a customer is worth.
//!
//! An order log is read and a model fitted to it ([`fit_orders`], or a training in the background); [`Value::save`] keeps the
//! model and the customers that it knows; then predictions are answered over gRPC ([`services`]) and HTTP ([`routes`]), of the
//! model in force and of the orders that came since.
//!
//! It holds: the tenant is in every query; a model is saved with its customers, its audit entry, or not at all; a request
//! keeps to the model in which it began, a page of customers too; an answer names the version and the history that made it; a
//! customer that is not known and a history that cannot be are told apart and named. Predictions are estimates, so they are floating-point numbers until they leave as money; amounts of the log are exact.
//!
//! Start with [`orders`], [`fit`] and [`holdout`], `model` for the words, `service` for the verbs.

mod about;
mod api;
mod aside;
mod audit;
mod baseline;
mod by_month;
mod cohort;
mod drift;
mod error;
pub mod fit;
#[cfg(any(test, feature = "fuzzing"))]
#[allow(clippy::expect_used, reason = "what is expected is what is tried")]
pub mod fuzzing;
mod grpc;
pub mod holdout;
mod intervals;
mod kind;
mod live;
mod model;
pub mod orders;
mod parsed;
pub mod personal;
mod repo;
pub mod report;
mod selection;
mod service;
#[cfg(test)]
mod tests;
mod together;
mod training;
mod unit;
mod versions;

pub use api::routes;
pub use audit::AUDIT_TOPIC;
pub use baseline::Revenue;
pub use by_month::{Cohorts, MonthlyCohort};
pub use drift::watch::watch;
pub use error::ValueError;
pub use fit::{FitOptions, FitOrdersError, FitReport, fit_orders};
pub use grpc::services;
pub use kiki_models::ltv::Terms;
pub use kind::{ModelKind, NotAModel, Purchases, PurchasesFit};
pub use model::{Covariances, Parameters, SavedModel};
pub use service::{Needs, Promote, Pseudonym, Value};
pub use unit::{NotAUnit, TimeUnit};
