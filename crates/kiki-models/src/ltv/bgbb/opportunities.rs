//! What BG/BB knows of a customer: how often they bought, and at which of their opportunities last.

use serde::Serialize;

use crate::ltv::HistoryError;

/// The most opportunities that a customer may have had.
pub const OPPORTUNITIES_MAX: u32 = 1_000;

/// Purchases at opportunities. Made only by [`Opportunities::new`], so that `frequency <= last <= opportunities`, and
/// `last` is 0 exactly without a purchase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Opportunities {
    opportunities: u32,
    frequency: u32,
    last: u32,
}

impl Opportunities {
    /// `frequency` purchases at so many `opportunities` after the one that made the customer, the last purchase at
    /// opportunity `last`, counted from 1; 0 if there was none.
    ///
    /// # Errors
    /// Names the field that does not go with the others, or is more than [`OPPORTUNITIES_MAX`].
    pub fn new(frequency: u32, last: u32, opportunities: u32) -> Result<Self, HistoryError> {
        let wrong = |field, reason| Err(HistoryError { field, reason });
        if opportunities == 0 || opportunities > OPPORTUNITIES_MAX {
            return wrong("opportunities", "must be between 1 and 1000");
        }
        if last > opportunities {
            return wrong("last", "must not be larger than opportunities");
        }
        if frequency > last {
            return wrong("frequency", "must not be larger than last");
        }
        if frequency == 0 && last > 0 {
            return wrong("last", "must be 0 without a purchase");
        }
        Ok(Self::of_parts(frequency, last, opportunities))
    }

    /// The same from numbers that are known to go together.
    pub(super) const fn of_parts(frequency: u32, last: u32, opportunities: u32) -> Self {
        Self { opportunities, frequency, last }
    }

    /// Purchases.
    #[must_use]
    pub const fn frequency(&self) -> u32 {
        self.frequency
    }

    /// The opportunity of the last purchase; 0 without one.
    #[must_use]
    pub const fn last(&self) -> u32 {
        self.last
    }

    /// Opportunities.
    #[must_use]
    pub const fn opportunities(&self) -> u32 {
        self.opportunities
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opportunities_name_the_field_that_is_wrong() {
        for (x, last, n, field) in [
            (0, 0, 0, "opportunities"),
            (0, 0, 1_001, "opportunities"),
            (1, 7, 6, "last"),
            (0, 3, 6, "last"),
            (4, 3, 6, "frequency"),
            (1, 0, 6, "frequency"),
        ] {
            assert_eq!(Opportunities::new(x, last, n).unwrap_err().field, field, "{x} {last} {n}");
        }
        let customer = Opportunities::new(2, 5, 6).unwrap();
        assert_eq!((customer.frequency(), customer.last(), customer.opportunities()), (2, 5, 6));
    }
}
