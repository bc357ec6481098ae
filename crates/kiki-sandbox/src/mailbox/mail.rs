//! A plain message as RFC 5322 text.

use std::io;

use kiki_types::UnixMillis;
use kiki_types::id::MessageId;
use mail_builder::MessageBuilder;
use mail_builder::headers::address::Address;
use mail_builder::headers::date::Date;
use mail_parser::{Address as ParsedAddress, Message, MessageParser};

use super::{DeliveryError, MESSAGE_BYTES_MAX};

/// Recipients live under a name that can never be registered (RFC 2606, 2): a sandbox address reaches nobody.
const CUSTOMER_DOMAIN: &str = "customers.invalid";

/// One text message to one customer.
#[derive(Clone, Copy, Debug)]
pub struct Mail<'a> {
    /// Its id, which becomes the `Message-ID`.
    pub id: MessageId,
    /// Its date.
    pub at: UnixMillis,
    /// The sender's address.
    pub from: &'a str,
    /// The customer it goes to. See [`Mail::address`].
    pub customer_id: &'a str,
    /// One line.
    pub subject: &'a str,
    /// Text.
    pub body: &'a str,
}

impl Mail<'_> {
    /// The message with its headers, lines ended by CRLF.
    ///
    /// # Errors
    /// None that is known: it is written to memory.
    pub fn to_rfc5322(&self) -> io::Result<Vec<u8>> {
        let sender_domain = self.from.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
        MessageBuilder::new()
            .message_id(format!("{}@{sender_domain}", self.id))
            .date(Date::new(self.at.0.div_euclid(1_000)))
            .from(Address::new_address(None::<&str>, self.from))
            .to(Address::new_address(None::<&str>, Self::address(self.customer_id)))
            .subject(self.subject)
            .text_body(self.body)
            .write_to_vec()
    }

    /// Where a customer's mail goes in the sandbox: `00042@customers.invalid`. What a plain local part cannot hold
    /// (RFC 5322, 3.2.3) is spelled `=XX`.
    #[must_use]
    pub fn address(customer_id: &str) -> String {
        let mut address = String::with_capacity(customer_id.len() + 1 + CUSTOMER_DOMAIN.len());
        for &byte in customer_id.as_bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+') {
                address.push(char::from(byte));
            } else {
                address.push_str(&format!("={byte:02X}"));
            }
        }
        address.push('@');
        address.push_str(CUSTOMER_DOMAIN);
        address
    }
}

/// The recipient of a message that a provider would take: a sender, a recipient and a date (RFC 5322, 3.6).
///
/// # Errors
/// [`DeliveryError::Rejected`].
pub fn recipient(eml: &[u8]) -> Result<String, DeliveryError> {
    let rejected = |why: &str| DeliveryError::Rejected(why.to_owned());
    if eml.len() > MESSAGE_BYTES_MAX {
        return Err(rejected("552 5.3.4 the message is too large"));
    }
    let message = MessageParser::default().parse_headers(eml).ok_or_else(|| rejected("554 5.6.0 no headers"))?;
    if first_address(message.from()).is_empty() || message.date().is_none() {
        return Err(rejected("554 5.6.0 a message needs From and Date"));
    }
    match first_address(message.to()) {
        to if to.is_empty() => Err(rejected("554 5.6.0 a message needs To")),
        to => Ok(to),
    }
}

/// What a message's headers say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its id.
    pub id: MessageId,
    /// Its date; the beginning of 1970 if it has none.
    pub at: UnixMillis,
    /// The sender's address.
    pub from: String,
    /// The first recipient's address.
    pub to: String,
    /// Its subject.
    pub subject: String,
    /// Its length.
    pub bytes: usize,
}

impl Summary {
    /// Of the message `eml`, which has this `id`.
    pub(super) fn of(id: MessageId, eml: &[u8]) -> Self {
        let message: Option<Message<'_>> = MessageParser::default().parse_headers(eml);
        let message = message.as_ref();
        Self {
            id,
            at: UnixMillis(message.and_then(Message::date).map_or(0, |date| date.to_timestamp().saturating_mul(1_000))),
            from: first_address(message.and_then(Message::from)),
            to: first_address(message.and_then(Message::to)),
            subject: message.and_then(Message::subject).unwrap_or_default().to_owned(),
            bytes: eml.len(),
        }
    }
}

fn first_address(list: Option<&ParsedAddress<'_>>) -> String {
    list.and_then(ParsedAddress::first).and_then(|address| address.address()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_back_as_it_was_written() {
        let mail = Mail {
            id: "0190d3b0-0000-7000-8000-000000000001".parse().unwrap(),
            at: UnixMillis(1_770_287_400_000),
            from: "hello@shop.example",
            customer_id: "a b@c",
            subject: "Grüße, we miss you",
            body: "Line one\nLine two: 10 €\n.\n",
        };
        let eml = mail.to_rfc5322().unwrap();
        let parsed = MessageParser::default().parse(&eml).unwrap();
        assert_eq!(parsed.message_id(), Some("0190d3b0-0000-7000-8000-000000000001@shop.example"));
        assert_eq!(parsed.date().unwrap().to_rfc3339(), "2026-02-05T10:30:00Z");
        assert_eq!(parsed.subject(), Some("Grüße, we miss you"));
        assert_eq!(parsed.from().unwrap().first().unwrap().address(), Some("hello@shop.example"));
        assert_eq!(parsed.to().unwrap().first().unwrap().address(), Some("a=20b=40c@customers.invalid"));
        let body = parsed.body_text(0).unwrap().replace("\r\n", "\n");
        assert_eq!(body.trim_end(), mail.body.trim_end());
        assert!(eml.is_ascii());
    }
}
