//! What compliance officers ask of shield, together: the register of breaches, reports, retention.

use kiki_kit::shutdown::Tasks;
use kiki_store::personal::Stores;
use utoipa_axum::router::OpenApiRouter;

use crate::breach::{self, Breaches};
use crate::report::{self, Reports, Statements};
use crate::retention::{self, Retention};
use crate::service::Shield;

/// The parts of a shield that are about compliance. Cheap to clone.
#[derive(Clone)]
pub struct Compliance {
    breaches: Breaches,
    reports: Reports,
    retention: Retention,
}

impl Compliance {
    /// Those of `shield`.
    #[must_use]
    pub fn new(shield: &Shield, stated: Statements) -> Self {
        let breaches = Breaches::new(shield.clone());
        let retention = Retention::new(shield.clone(), stated.days);
        let reports = Reports::new(shield.clone(), breaches.clone(), stated);
        Self { breaches, reports, retention }
    }

    /// The paths.
    #[must_use]
    pub fn routes(&self) -> OpenApiRouter {
        breach::routes(self.breaches.clone())
            .merge(report::routes(self.reports.clone()))
            .merge(retention::routes(self.retention.clone()))
    }

    /// Begins what goes on by itself: reports over all the `stores` that there are, retention over the `local` ones. Who is
    /// unused here may be active at a service with a database of its own.
    pub fn begin(&self, stores: &Stores, local: &Stores, tasks: &Tasks) {
        self.reports.begin(stores.clone());
        self.retention.begin(local.clone());
        let shutdown = || tasks.shutdown().clone();
        tasks.spawn("breach reminders", breach::jobs::remind(self.breaches.clone(), shutdown()));
        tasks.spawn("retention of personal data", retention::jobs::daily(self.retention.clone(), shutdown()));
    }
}
