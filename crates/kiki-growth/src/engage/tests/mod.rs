//! Engage over HTTP, with stand-ins for shield, the value service and the provider that speak the real contracts.

mod campaigns;
mod inputs;
mod outages;
mod personal;
mod relay;
mod shield;
mod triggers;
mod world;
