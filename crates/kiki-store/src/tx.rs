//! A transaction that writes, and the events that leave with it.

use kiki_types::event::Envelope;
use sqlx::{Any, AnyConnection, Transaction};
use tokio::sync::OwnedSemaphorePermit;

use crate::{StoreError, outbox};

/// A transaction that writes. Dropped without [`Tx::commit`], it leaves nothing.
pub struct Tx {
    inner: Transaction<'static, Any>,
    events: Vec<Envelope>,
    // Dropped after `inner`: the next writer's turn begins when this transaction has ended.
    _turn: Option<OwnedSemaphorePermit>,
}

impl Tx {
    pub(crate) const fn new(inner: Transaction<'static, Any>, turn: Option<OwnedSemaphorePermit>) -> Self {
        Self { inner, events: Vec::new(), _turn: turn }
    }

    /// Where statements of this transaction go: `query.execute(tx.sql())`.
    pub fn sql(&mut self) -> &mut AnyConnection {
        &mut self.inner
    }

    /// Events that [`outbox::publish`] gave this transaction.
    pub(crate) const fn events(&mut self) -> &mut Vec<Envelope> {
        &mut self.events
    }

    /// Makes it true: the rows and the events together.
    ///
    /// # Errors
    /// The database refused or went away. After [`StoreError::Unavailable`] it is unknown whether the work was
    /// committed.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        let events = std::mem::take(&mut self.events);
        outbox::append(&mut self.inner, &events).await?;
        Ok(self.inner.commit().await?)
    }

    /// Takes it back, and waits until that is done.
    ///
    /// # Errors
    /// The database went away; nothing was written all the same.
    pub async fn rollback(self) -> Result<(), StoreError> {
        Ok(self.inner.rollback().await?)
    }
}
