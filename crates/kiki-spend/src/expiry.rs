//! The order in which open holds end by themselves: a binary heap that knows where each of its members is, so that
//! a hold that is resolved leaves at once and the heap is never larger than the number of open holds.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What the heap needs of its owner: to be told where a member now is.
pub(crate) trait Places {
    fn moved(&mut self, slot: u32, place: u32);
}

/// A min-heap of slots by time, then by slot, so that the order does not depend on the heap's history.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expiry(Vec<(i64, u32)>);

impl Expiry {
    /// The first to end.
    pub(crate) fn first(&self) -> Option<(i64, u32)> {
        self.0.first().copied()
    }

    /// The first to end, in the order of their ends; every member that is looked at costs a place in a queue.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = (i64, u32)> {
        let mut next = BinaryHeap::new();
        next.extend(self.0.first().map(|&first| Reverse((first, 0_usize))));
        std::iter::from_fn(move || {
            let Reverse((member, place)) = next.pop()?;
            let children = [2 * place + 1, 2 * place + 2];
            next.extend(children.into_iter().filter_map(|child| Some(Reverse((*self.0.get(child)?, child)))));
            Some(member)
        })
    }

    pub(crate) fn insert(&mut self, until: i64, slot: u32, places: &mut impl Places) {
        self.0.push((until, slot));
        self.rise(self.0.len() - 1, places);
    }

    /// Takes out the member at `place`.
    pub(crate) fn remove(&mut self, place: u32, places: &mut impl Places) {
        let place = place as usize;
        self.0.swap_remove(place);
        if place < self.0.len() {
            self.sink(place, places);
            self.rise(place, places);
        }
    }

    fn rise(&mut self, mut place: usize, places: &mut impl Places) {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.0[parent] <= self.0[place] {
                break;
            }
            self.swap(place, parent, places);
            place = parent;
        }
        self.tell(place, places);
    }

    fn sink(&mut self, mut place: usize, places: &mut impl Places) {
        loop {
            let children = [2 * place + 1, 2 * place + 2];
            let least = children.into_iter().filter(|&child| child < self.0.len()).min_by_key(|&child| self.0[child]);
            match least {
                Some(child) if self.0[child] < self.0[place] => {
                    self.swap(place, child, places);
                    place = child;
                }
                _ => break,
            }
        }
        self.tell(place, places);
    }

    fn swap(&mut self, a: usize, b: usize, places: &mut impl Places) {
        self.0.swap(a, b);
        self.tell(a, places);
        self.tell(b, places);
    }

    fn tell(&self, place: usize, places: &mut impl Places) {
        places.moved(self.0[place].1, u32::try_from(place).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use proptest::prelude::*;

    use super::*;

    impl Places for HashMap<u32, u32> {
        fn moved(&mut self, slot: u32, place: u32) {
            self.insert(slot, place);
        }
    }

    proptest! {
        #[test]
        fn members_come_out_in_order_whoever_left_before(steps in prop::collection::vec((0_i64..50, any::<bool>()), 1..200)) {
            let (mut heap, mut places, mut model) = (Expiry::default(), HashMap::new(), BTreeSet::new());
            for (slot, (until, leaves)) in (0_u32..).zip(steps) {
                heap.insert(until, slot, &mut places);
                model.insert((until, slot));
                if leaves {
                    let gone = *model.iter().nth(model.len() / 2).unwrap();
                    heap.remove(places[&gone.1], &mut places);
                    model.remove(&gone);
                }
                prop_assert_eq!(heap.first(), model.first().copied());
                prop_assert!(heap.in_order().eq(model.iter().copied()));
            }
        }
    }
}
