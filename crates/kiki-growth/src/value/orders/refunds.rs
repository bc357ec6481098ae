//! Refunds that come as rows of their own: a negative amount is taken from the customer's latest purchase day at or before it,
//! what is more from the day before that. A day of which nothing is left is no purchase.
//!
//! Only what was known counts: a refund after the day that is asked about changes nothing on it.

use kiki_models::ltv::Purchase;
use serde::Serialize;

/// What became of refunds and cancelled orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Refunds {
    /// Rows with a negative amount, and orders refunded in part.
    pub rows: u64,
    /// Orders, or days of them, of which nothing was left, and orders that were voided: no purchases.
    pub returned: u64,
    /// Rows with a negative amount that no purchase stands before, in whole or in part; what is left over is ignored.
    pub unmatched: u64,
}

/// The purchases of one customer, given in the order of days, up to `until` with refunds taken off, put into `net`. Returns
/// how many days were returned whole, and how many refunds found not enough to be taken from.
pub(super) fn net(purchases: impl Iterator<Item = Purchase>, until: i32, net: &mut Vec<Purchase>) -> (u64, u64) {
    net.clear();
    net.extend(purchases.take_while(|purchase| purchase.day <= until));
    if net.iter().all(|purchase| purchase.micros >= 0) {
        return (0, 0);
    }
    let all = std::mem::take(net);
    let (mut returned, mut unmatched) = (0, 0);
    for day in all.chunk_by(|one, other| one.day == other.day) {
        // A refund of a day is of what was bought by its end.
        net.extend(day.iter().filter(|purchase| purchase.micros >= 0));
        for refund in day.iter().filter(|purchase| purchase.micros < 0) {
            let mut left = refund.micros.unsigned_abs();
            while left > 0 {
                let Some(last) = net.pop() else { break };
                let worth = last.micros.unsigned_abs();
                if worth > left {
                    net.push(Purchase { micros: last.micros.saturating_sub_unsigned(left), ..last });
                } else {
                    returned += u64::from(net.last().is_none_or(|before| before.day != last.day));
                }
                left = left.saturating_sub(worth);
            }
            unmatched += u64::from(left > 0);
        }
    }
    (returned, unmatched)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(purchases: &[(i32, i64)], until: i32) -> (Vec<(i32, i64)>, (u64, u64)) {
        let mut found = Vec::new();
        let mut sorted: Vec<Purchase> = purchases.iter().map(|&(day, micros)| Purchase { day, micros }).collect();
        sorted.sort_unstable();
        let counts = net(sorted.into_iter(), until, &mut found);
        (found.iter().map(|purchase| (purchase.day, purchase.micros)).collect(), counts)
    }

    #[test]
    fn a_refund_comes_off_the_latest_purchase_and_then_off_the_one_before() {
        assert_eq!(of(&[(1, 10), (5, 20), (7, -5)], 9), (vec![(1, 10), (5, 15)], (0, 0)));
        assert_eq!(of(&[(1, 10), (5, 20), (7, -25)], 9), (vec![(1, 5)], (1, 0)));
        assert_eq!(of(&[(1, 10), (5, 20), (7, -20)], 9), (vec![(1, 10)], (1, 0)));
        assert_eq!(of(&[(1, 10), (5, 20), (6, 8), (7, -5)], 9), (vec![(1, 10), (5, 20), (6, 3)], (0, 0)));
    }

    #[test]
    fn of_one_day_the_purchases_come_before_the_refunds() {
        assert_eq!(of(&[(1, 10), (5, -3), (5, 20)], 9), (vec![(1, 10), (5, 17)], (0, 0)));
        assert_eq!(of(&[(5, 7), (5, 20), (5, -20)], 9), (vec![(5, 7)], (0, 0)));
    }

    #[test]
    fn what_is_refunded_later_is_not_known_yet() {
        assert_eq!(of(&[(1, 10), (5, 20), (7, -20)], 6), (vec![(1, 10), (5, 20)], (0, 0)));
    }

    #[test]
    fn a_refund_of_nothing_is_counted_and_takes_nothing() {
        assert_eq!(of(&[(1, -10), (5, 20)], 9), (vec![(5, 20)], (0, 1)));
        assert_eq!(of(&[(1, 4), (2, -10), (5, 20)], 9), (vec![(5, 20)], (1, 1)));
    }

    #[test]
    fn a_purchase_for_nothing_stays_one() {
        assert_eq!(of(&[(1, 0), (5, 20), (6, -1)], 9), (vec![(1, 0), (5, 19)], (0, 0)));
    }
}
