//! The tamper-evident log: what was decided, in order, provable later. It is the journal of the spend governor too.
//!
//! Under one directory (`$KIKI_DATA/audit`):
//!
//! | path | what | written by |
//! |---|---|---|
//! | `segments/<first index>.seg` | the entries: the only truth here | [`Log`] |
//! | `log/tile/…`, `log/checkpoint` | Merkle tiles and the signed tree head (C2SP tlog-tiles) | [`Deriver`] |
//! | `log/handover/<number>` | how its key went over to the next | [`LogKey::rotate`] |
//! | `log/witnessed` | the newest checkpoint with enough cosignatures | [`Checkpoint::keep_witnessed`] |
//! | `index/<first index>.idx` | where entries are in a segment | [`Deriver`] |
//! | `shield_audit_gdpr.csv`, `.jsonl` | the views that people read | [`Deriver`] |
//! | `views.json` | how far the views are | [`Deriver`] |
//! | `pruned` | which entries were deleted, signed; absent while none were | [`prune_on`] |
//! | `shipped.json` | how much of it is on a shelf | [`Shipper`] |
//! | `lock` | held by the process that appends | [`Log`] |
//!
//! Invariants:
//! - [`Log::append`] returns after its batch is durable, or fails and takes nothing more.
//! - Segments are never rewritten. Only an incomplete record at the very end, beyond the checkpoint, is ever cut.
//! - Everything but the segments can be derived again from them; [`verify()`] does so and names the first difference.
//! - A checkpoint covers durable entries only, and is never signed for fewer entries than an earlier one.
//!
//! - A proof was verified against the signed root before it is handed out.
//!
//! Start with [`log`] (append), [`reader`] (read), [`derive`](mod@derive) (tiles and views), [`verify`](mod@verify),
//! [`tlogproof`] (what a stranger verifies), [`witness`].

pub mod batch;
pub mod bundle;
pub mod checkpoint;
pub mod derive;
pub mod disk;
pub mod durable;
pub mod entry;
pub mod error;
pub mod handover;
pub mod keys;
pub mod log;
pub mod note;
pub mod policy;
pub mod proof;
pub mod pruned;
pub mod reader;
pub mod served;
pub mod shelf;
pub mod ship;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
pub mod tlogproof;
pub mod verify;
pub mod witness;

mod files;
mod index;
mod record;
mod recover;
mod rows;
mod segments;
#[cfg(test)]
mod testing;
mod tiles;
mod tree;
mod views;

pub use batch::{Batch, PushError};
pub use bundle::bundle;
pub use checkpoint::Checkpoint;
pub use derive::{DeriveOptions, Deriver, Progress};
pub use disk::{Disk, DiskFile};
pub use durable::Durable;
pub use entry::{ENTRY_BYTES_MAX, Entry};
pub use error::{Difference, Error, OpenError, Place};
pub use handover::Handover;
pub use keys::{KeyError, LogKey};
pub use log::{Log, Opened, Options, Torn};
pub use note::{NoteError, VerifierKey};
pub use policy::Policy;
pub use proof::{DiskTiles, SignedTree, TileSource};
pub use pruned::{Pruned, prune_on};
pub use reader::{Reader, Record};
pub use rows::{Format as RowFormat, Row, write_cell};
pub use segments::Cursor;
pub use shelf::{Folder, Shelf};
pub use ship::{ShipOptions, Shipped, Shipper};
pub use tlogproof::{Proof, ProofError, ProveError, Proven, Which, prove};
pub use tree::{HASH_BYTES, Hash, TILE_WIDTH, TileId, leaf_hash};
pub use verify::{Audit, Kept, Point, Verified, VerifyOptions, VerifyProgress, ViewsPoint, Visit, verify, verify_with};
pub use witness::Witness;
