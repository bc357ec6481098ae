//! Histories for a likelihood: equal ones count together, those of equal frequency stand together.

use super::History;
use super::parallel::map_chunks;

/// Histories, grouped.
pub(super) struct Groups {
    rows: Vec<Row>,
    blocks: Vec<Block>,
    customers: f64,
}

/// Customers with equal histories.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) recency: f64,
    pub(super) age: f64,
    pub(super) customers: f64,
}

/// Rows of customers with `frequency` repeat purchases: from `start` up to `end`.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub(super) frequency: u32,
    pub(super) customers: f64,
    start: usize,
    end: usize,
}

/// So that blocks are small enough to be shared out to threads; what is computed once a block is little beside its rows.
const BLOCK_ROWS_MAX: usize = 4_096;
/// Fewer rows than this are done before a thread has started.
const ROWS_SHARED_MIN: usize = 20_000;

impl Groups {
    pub(super) fn new(histories: &[History]) -> Self {
        let mut sorted: Vec<(u32, u64, u64)> = histories
            .iter()
            // Not negative, so their bits are ordered as they are.
            .map(|history| (history.frequency(), history.age().to_bits(), history.recency().to_bits()))
            .collect();
        sorted.sort_unstable();
        let (mut rows, mut blocks): (Vec<Row>, Vec<Block>) = (Vec::new(), Vec::new());
        for equal in sorted.chunk_by(|one, other| one == other) {
            let (frequency, age, recency) = equal[0];
            let (customers, start) = (equal.len() as f64, rows.len());
            rows.push(Row { recency: f64::from_bits(recency), age: f64::from_bits(age), customers });
            match blocks.last_mut() {
                Some(block) if block.frequency == frequency && start - block.start < BLOCK_ROWS_MAX => {
                    block.end = rows.len();
                    block.customers += customers;
                }
                _ => blocks.push(Block { frequency, customers, start, end: rows.len() }),
            }
        }
        Self { rows, blocks, customers: histories.len() as f64 }
    }

    pub(super) fn customers(&self) -> f64 {
        self.customers
    }

    /// Repeat purchases a week of observation; `None` if there are none.
    pub(super) fn rate(&self) -> Option<f64> {
        let purchases: f64 = self.blocks.iter().map(|block| f64::from(block.frequency) * block.customers).sum();
        // Repeats without a week of observation come from times that were never measured.
        (purchases > 0.0).then(|| purchases / self.weeks().max(1e-3))
    }

    /// Weeks of observation, of all customers.
    pub(super) fn weeks(&self) -> f64 {
        self.rows.iter().map(|row| row.age * row.customers).sum()
    }

    /// What `of` makes of each block and its rows, in their order; computed on all processors where it is much.
    pub(super) fn map<R: Send>(&self, of: impl Fn(&Block, &[Row]) -> R + Sync) -> Vec<R> {
        let blocks_a_part = if self.rows.len() < ROWS_SHARED_MIN { self.blocks.len() } else { 1 };
        map_chunks(&self.blocks, blocks_a_part, |blocks| {
            blocks.iter().map(|block| of(block, &self.rows[block.start..block.end])).collect()
        })
    }
}
