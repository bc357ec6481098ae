//! A point of a verification, from which a later one can go on.

use serde::{Deserialize, Serialize};

use crate::tree::Hash;

/// All entries before `index` were verified, and gave this tree. Going on from here looks at none of them again: it
/// says that they were right then, and that the tree still stands on them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Of which log.
    pub origin: String,
    /// The next entry.
    pub index: u64,
    /// The root over those before it.
    pub root: [u8; 32],
    /// Where the next rows of the views are, if they were verified.
    pub views: Option<ViewsPoint>,
}

/// Where the rows of the next entry are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewsPoint {
    /// The entry of the first row.
    pub first: u64,
    /// Bytes of the CSV view before them.
    pub csv_bytes: u64,
    /// Bytes of the JSON view before them.
    pub jsonl_bytes: u64,
    /// What stands in the last column.
    pub retention_days: u32,
}

impl Point {
    /// Whether it is about this tree.
    pub(super) fn is_of(&self, origin: &str, root: &Hash) -> bool {
        self.origin == origin && self.root == *root
    }
}
