//! Stories of subject requests on both databases, with stores in memory and a clock that is turned.

mod apart;
mod copies;
mod course;
mod failing;
mod holds;
mod identity;
mod rectification;
mod verbs;
mod world;
