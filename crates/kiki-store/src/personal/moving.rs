//! Going over to another master key, while everything goes on.
//!
//! First every epoch gets a second wrap, under the new master; then processes are started with it, one after the other; then
//! the wraps of the old one go. No epoch begins meanwhile, since only one of the two masters would open it.

use std::sync::Arc;

use super::error::KeysError;
use super::keyring::{self, Wrap};
use super::master::MasterKey;
use super::opening::secret_of;
use super::subjects::Subjects;

/// What [`Subjects::move_to`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// Both masters open the ring. Start every process with the new one, then move again.
    Both,
    /// Only this master opens the ring.
    Only,
}

impl Subjects {
    /// Lets `master` open the ring too; where it is the configured one, lets no other one do so any more.
    ///
    /// # Errors
    /// A master or the ring does not do its part.
    pub async fn move_to(&self, master: &Arc<dyn MasterKey>) -> Result<Moved, KeysError> {
        self.reload().await?;
        let configured = self.inner().master.name().to_owned();
        if master.name() == configured {
            let leave = move |ring: &mut keyring::KeyRing| {
                for epoch in &mut ring.epochs {
                    epoch.wraps.retain(|wrap| wrap.master == configured);
                }
                Ok(true)
            };
            self.change_ring(leave).await?;
            self.reload().await?;
            return Ok(Moved::Only);
        }
        let ring = self.stored_ring().await?;
        let mut wraps = Vec::with_capacity(ring.epochs.len());
        for epoch in &ring.epochs {
            let secret = secret_of(&ring, epoch, &self.inner().master).await?;
            let context = keyring::context(ring.id, epoch.n);
            let wrap = Wrap::of(master.name(), master.wrap(&context, &secret).await?);
            // It must give back what it was given, before anybody relies on it.
            let given_back = master.unwrap(&context, &wrap.wrapped()).await?;
            if *given_back != *secret {
                return Err(KeysError::NotNow("the other master key does not give back what it was given"));
            }
            wraps.push((epoch.n, wrap));
        }
        let name = master.name().to_owned();
        self.change_ring(move |ring| {
            if ring.epochs.len() != wraps.len() || ring.epochs.iter().zip(&wraps).any(|(epoch, (n, _))| epoch.n != *n) {
                return Err(KeysError::Raced);
            }
            for (epoch, (_, wrap)) in ring.epochs.iter_mut().zip(wraps) {
                epoch.wraps.retain(|wrap| wrap.master != name);
                epoch.wraps.push(wrap);
            }
            Ok(true)
        })
        .await?;
        self.reload().await?;
        Ok(Moved::Both)
    }
}
