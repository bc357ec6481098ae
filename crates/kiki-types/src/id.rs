//! Ids: a UUIDv7 behind a type each, made from a time and random bytes that are passed in.

use uuid::{Builder, Uuid};

use crate::UnixMillis;

/// Where new ids come from: the production one reads a clock and the system's randomness, a test's one counts.
pub trait IdSource: Send + Sync {
    /// A UUIDv7 that was not given before.
    fn uuid(&self) -> Uuid;
}

/// A UUIDv7 of `at` with `random` for its 74 random bits (RFC 9562, 5.7).
#[must_use]
pub fn uuid_v7(at: UnixMillis, random: [u8; 10]) -> Uuid {
    Builder::from_unix_timestamp_millis(u64::try_from(at.0).unwrap_or(0), &random).into_uuid()
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id.
            pub fn new(ids: &dyn IdSource) -> Self {
                Self(ids.uuid())
            }

            /// The UUID inside.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                Uuid::try_parse(text).map(Self).map_err(|_| NotAnId)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A reservation of money and what became of it.
    AuthorizationId
}
id! {
    /// An entry of the audit log.
    EventId
}
id! {
    /// A retention campaign.
    CampaignId
}
id! {
    /// One message to one customer.
    MessageId
}
id! {
    /// A data subject request.
    SubjectRequestId
}
id! {
    /// A breach of personal data.
    BreachId
}
id! {
    /// A fitted model.
    ModelId
}
id! {
    /// An endpoint that is told of events.
    WebhookId
}
id! {
    /// One event on its way to one endpoint.
    DeliveryId
}

/// The text is not a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a UUID")]
pub struct NotAnId;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_carries_its_time_and_its_version() {
        let id = uuid_v7(UnixMillis(1_700_000_000_123), [7; 10]);
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(id.get_timestamp().unwrap().to_unix(), (1_700_000_000, 123_000_000));
        assert_eq!(id.to_string().parse(), Ok(CampaignId::from(id)));
        assert_eq!("17".parse::<CampaignId>(), Err(NotAnId));
    }
}
