//! The tamper-evident log: segments, tiles, signed checkpoint, views, verification.
