//! A person with the key that everything about them is sealed under.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use kiki_types::TenantId;
use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

use super::sealed::{self, FORMAT, Random, Secret};

/// Stands for a person in every table. It is random, and tells nothing without the person's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SubjectId(pub Uuid);

impl SubjectId {
    /// A handle that was not given before.
    pub(crate) fn fresh(random: &Random) -> Self {
        let mut bytes = [0; 16];
        random(&mut bytes);
        Self(Builder::from_random_bytes(bytes).into_uuid())
    }

    /// The UUID (version 4).
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for SubjectId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl FromStr for SubjectId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::try_parse(text).map(Self)
    }
}

impl fmt::Display for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether somebody who is not known yet is to be known from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mint {
    /// Something about them is about to be decided or recorded.
    Yes,
    /// Somebody only asks.
    No,
}

/// Why somebody is erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// They asked for it.
    Request,
    /// Their time is over.
    Retention,
}

impl Cause {
    /// The name in the register, in SQL and in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Retention => "retention",
        }
    }
}

impl FromStr for Cause {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "request" => Ok(Self::Request),
            "retention" => Ok(Self::Retention),
            _ => Err("is neither request nor retention"),
        }
    }
}

/// Why something sealed stays closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The person's key is gone.
    #[error("the person was erased")]
    Erased,
    /// The key that the person's key is under is gone.
    #[error("the epoch that this was sealed in was destroyed")]
    EpochDestroyed,
    /// It is not what was sealed at this place.
    #[error("the sealed value is damaged, or was moved from another place")]
    Damaged,
}

/// A person of a tenant. Shows nothing but the handle.
#[derive(Clone)]
pub struct Subject {
    /// The handle.
    pub id: SubjectId,
    /// Whose customer they are.
    pub tenant: TenantId,
    /// Who they are in the log: a keyed hash that dies with their key.
    pub pseudonym: [u8; 16],
    /// Whether they restricted what may be done with their data.
    pub restricted: bool,
    /// Whether they object to being profiled.
    pub objected: bool,
    pub(super) name: Arc<str>,
    pub(super) key: Arc<Secret>,
    pub(super) random: Random,
}

impl Subject {
    /// The customer id.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `plain` as it may stand at `place` (`table.column`) in the row with the key `row`:
    /// `0x01 ‖ nonce ‖ ciphertext ‖ tag`, 29 bytes longer.
    #[must_use]
    pub fn seal(&self, place: &'static str, row: &str, plain: &[u8]) -> Vec<u8> {
        seal(&self.key, place, &self.tenant, row, plain, &self.random)
    }

    /// What [`Subject::seal`] sealed for the same place and row.
    ///
    /// # Errors
    /// [`Unreadable::Damaged`].
    pub fn open(&self, place: &'static str, row: &str, sealed: &[u8]) -> Result<Vec<u8>, Unreadable> {
        open(&self.key, place, &self.tenant, row, sealed)
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subject").field(&self.id).finish()
    }
}

/// As [`Subject::seal`], before there is a [`Subject`].
pub(super) fn seal(
    key: &Secret,
    place: &'static str,
    tenant: &TenantId,
    row: &str,
    plain: &[u8],
    random: &Random,
) -> Vec<u8> {
    sealed::seal(key, &context(place, tenant, row), &[FORMAT], plain, random)
}

/// As [`Subject::open`], before there is a [`Subject`].
pub(super) fn open(
    key: &Secret,
    place: &'static str,
    tenant: &TenantId,
    row: &str,
    sealed: &[u8],
) -> Result<Vec<u8>, Unreadable> {
    let (&FORMAT, sealed) = sealed.split_first().ok_or(Unreadable::Damaged)? else {
        return Err(Unreadable::Damaged);
    };
    let plain = sealed::open(key, &context(place, tenant, row), sealed).ok_or(Unreadable::Damaged)?;
    Ok(plain.to_vec())
}

/// What a sealed value belongs to. Neither places nor tenants hold a zero byte, so no two triples are alike.
fn context(place: &'static str, tenant: &TenantId, row: &str) -> Vec<u8> {
    ["kiki/sealed/1", place, tenant.as_str(), row].join("\0").into_bytes()
}
