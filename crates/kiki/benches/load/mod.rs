//! What benchmarks under load share: servers in processes of their own, a client that asks them, the echo that they stand
//! beside, and figures by rounds.

pub(crate) mod client;
pub(crate) mod peers;
pub(crate) mod rounds;
pub(crate) mod server;
