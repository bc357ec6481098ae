//! What people are told of their requests, in words.

use super::model::{Delay, Ground, Kind, Outcome};
use super::repo::Request;

/// What a correction came to where no store put anything right.
pub(super) fn came_to_nothing(request: &Request) -> &'static str {
    match request.outcome {
        Some(Outcome::NothingHeld) => "We hold nothing that it names.",
        _ => {
            "We changed nothing: what we have is computed from data that are kept elsewhere, and changes once they are put \
             right there."
        }
    }
}

/// What was asked for.
pub(super) fn words(kind: Kind) -> &'static str {
    match kind {
        Kind::Access => "to see your data",
        Kind::Deletion => "to have your data erased",
        Kind::Portability => "to take your data along",
        Kind::Rectification => "to have your data put right",
        Kind::Restriction => "to have the use of your data restricted",
        Kind::Objection => "by which you object to the use of your data",
        Kind::OptOut => "to have your data neither sold nor shared",
    }
}

/// Why more time is taken.
pub(super) fn takes_long(why: Delay) -> &'static str {
    match why {
        Delay::Complexity => "it is complex",
        Delay::Number => "many requests have to be answered",
    }
}

/// Why a request is refused.
pub(super) fn because(ground: Ground) -> &'static str {
    match ground {
        Ground::IdentityNotProven => "it was not proven in time that it is yours",
        Ground::Unfounded => "it is manifestly unfounded",
        Ground::Excessive => "it is manifestly excessive",
        Ground::LegalObligation => "the law obliges us to keep the data",
        Ground::LegalClaims => "the data are needed for legal claims",
        Ground::PublicInterest => "the data are kept in the public interest",
        Ground::FreeExpression => "freedom of expression and information weighs more",
        Ground::RightsOfOthers => "it would affect the rights of others",
        Ground::LegalHold => "the data may not be erased while a legal matter is open",
        Ground::NotController => "somebody else is responsible for the data",
        Ground::NotAConsumer => "the law that it names does not give you this right",
        Ground::Exempt => "the law makes an exception for these data",
    }
}
