//! What people are told of their requests, in words.

use super::model::{Delay, Ground, Kind, Outcome};
use super::repo::Request;

/// What a completed request came to. `erased_on`: the day on which a copy that was asked for is erased at the latest.
pub(super) fn came_to(request: &Request, erased_on: Option<&str>) -> String {
    let said = match (request.kind, request.outcome) {
        (_, Some(Outcome::NothingHeld)) => "We hold nothing about you that it concerns.",
        (Kind::Access | Kind::Portability, outcome) => return ready(outcome == Some(Outcome::Part), erased_on),
        (Kind::Deletion, _) => "Your data are erased. This is the last message that you get from us.",
        (Kind::Rectification, _) => {
            "Your data are put right; what is computed from them changes with the next computation."
        }
        _ => "It is done.",
    };
    said.to_owned()
}

fn ready(is_part: bool, erased_on: Option<&str>) -> String {
    let until = match erased_on {
        None => "for 30 days".to_owned(),
        Some(day) => {
            format!("until they are erased, as you asked for too: a day after they were fetched first, or on {day}")
        }
    };
    let whole = if is_part { "; they are too many to be whole" } else { "" };
    format!("Your data are ready, and can be fetched {until}{whole}.")
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
        Ground::Erased => "the data are erased, as you asked for too, before a copy of them could be made",
        Ground::NotController => "somebody else is responsible for the data",
        Ground::NotAConsumer => "the law that it names does not give you this right",
        Ground::Exempt => "the law makes an exception for these data",
    }
}
