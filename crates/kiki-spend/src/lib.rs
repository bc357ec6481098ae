//! The spend governor: a pure state machine and its durable owner.
