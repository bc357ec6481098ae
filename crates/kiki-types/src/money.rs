//! Money: an integer of millionths in an ISO 4217 currency, never a float.
//!
//! The largest amount is 9,223,372,036,854.775807 units. Arithmetic is checked; a sum of many amounts is
//! kept in `i128` by those who sum.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Millionths in one unit of a currency.
pub const MICROS_PER_UNIT: i64 = 1_000_000;

const DECIMALS: usize = 6;

/// An ISO 4217 code: three capital letters. Whether the code is assigned is not checked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency([u8; 3]);

impl Currency {
    /// United States dollar: what the seeds' amounts mean where nothing else is said.
    pub const USD: Self = Self(*b"USD");

    /// The code, such as `USD`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }

    /// Decimal digits of its minor unit: 2 for most (a cent), as ISO 4217 lists them.
    #[must_use]
    pub const fn minor_digits(self) -> u32 {
        match &self.0 {
            b"BIF" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG" | b"RWF" | b"UGX"
            | b"UYI" | b"VND" | b"VUV" | b"XAF" | b"XOF" | b"XPF" => 0,
            b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
            b"CLF" | b"UYW" => 4,
            _ => 2,
        }
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        match <[u8; 3]>::try_from(text.as_bytes()) {
            Ok(code) if code.iter().all(u8::is_ascii_uppercase) => Ok(Self(code)),
            _ => Err(MoneyError::Currency),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// An amount of money. JSON: `{"amount": "12.50", "currency": "USD"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Money {
    /// Millionths of the currency's unit.
    pub micros: i64,
    /// The currency.
    pub currency: Currency,
}

impl Money {
    /// `micros` millionths of `currency`.
    #[must_use]
    pub const fn new(micros: i64, currency: Currency) -> Self {
        Self { micros, currency }
    }

    /// Reads a decimal such as `12.5` in `currency`. See [`parse_micros`].
    ///
    /// # Errors
    /// As [`parse_micros`].
    pub fn parse(decimal: &str, currency: Currency) -> Result<Self, MoneyError> {
        Ok(Self { micros: parse_micros(decimal)?, currency })
    }

    /// The decimal without its currency, at least two places: `12.50`, `0.000001`.
    #[must_use]
    pub fn decimal(&self) -> String {
        format_micros(i128::from(self.micros))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.decimal(), self.currency)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MoneyJson {
    amount: String,
    currency: Currency,
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        MoneyJson { amount: self.decimal(), currency: self.currency }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = MoneyJson::deserialize(deserializer)?;
        Self::parse(&json.amount, json.currency).map_err(D::Error::custom)
    }
}

/// Why a text is not money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not of the form `-?digits(.digits)?`.
    #[error("is not a decimal number such as 12.50")]
    NotDecimal,
    /// More than six places.
    #[error("has more than six decimal places")]
    TooPrecise,
    /// Beyond what 64 bits of millionths hold.
    #[error("is larger than 9223372036854.775807")]
    TooLarge,
    /// Not three capital letters.
    #[error("is not an ISO 4217 currency code such as USD")]
    Currency,
}

/// Reads a plain decimal (`100`, `0.01`, `-3.5`) as millionths, exactly. No exponent, no sign but `-`, no
/// grouping, no spaces; digits on both sides of a point.
///
/// # Errors
/// [`MoneyError::NotDecimal`], [`MoneyError::TooPrecise`] (a seventh place that is not zero),
/// [`MoneyError::TooLarge`].
pub fn parse_micros(text: &str) -> Result<i64, MoneyError> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((_, "")) => return Err(MoneyError::NotDecimal),
        Some(parts) => parts,
        None => (digits, ""),
    };
    let numeric = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !numeric(whole) || !numeric(fraction) {
        return Err(MoneyError::NotDecimal);
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > DECIMALS {
        return Err(MoneyError::TooPrecise);
    }
    let padding = std::iter::repeat_n(b'0', DECIMALS - fraction.len());
    let mut micros: i64 = 0;
    for digit in whole.bytes().chain(fraction.bytes()).chain(padding) {
        micros = micros
            .checked_mul(10)
            .and_then(|shifted| shifted.checked_add(i64::from(digit - b'0')))
            .ok_or(MoneyError::TooLarge)?;
    }
    Ok(if negative { -micros } else { micros })
}

/// Millionths as a decimal with at least two places.
#[must_use]
pub fn format_micros(micros: i128) -> String {
    Micros(micros).text(&mut [0; DECIMAL_BYTES]).to_owned()
}

/// Millionths that are written as [`format_micros`] writes them, without a string of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Micros(pub i128);

/// A sign, the digits of the largest `i128`, a point.
const DECIMAL_BYTES: usize = 42;

impl Micros {
    fn text(self, bytes: &mut [u8; DECIMAL_BYTES]) -> &str {
        // Written from its end. What is left of it has as many digits as that many bytes hold.
        let mut start = DECIMAL_BYTES;
        let mut put = |byte: u8| {
            start -= 1;
            bytes[start] = byte;
        };
        let mut digits = self.0.unsigned_abs();
        // 64 bits are divided several times as fast as 128, and mostly suffice.
        let mut next = || {
            let digit = match u64::try_from(digits) {
                Ok(small) => {
                    digits = u128::from(small / 10);
                    small % 10
                }
                Err(_) => {
                    let digit = digits % 10;
                    digits /= 10;
                    u64::try_from(digit).unwrap_or_default()
                }
            };
            (b'0' + u8::try_from(digit).unwrap_or_default(), digits == 0)
        };
        let mut is_written = false;
        for place in (0..DECIMALS).rev() {
            let (digit, _) = next();
            is_written |= digit != b'0' || place < 2;
            if is_written {
                put(digit);
            }
        }
        put(b'.');
        loop {
            let (digit, is_last) = next();
            put(digit);
            if is_last {
                break;
            }
        }
        if self.0 < 0 {
            put(b'-');
        }
        std::str::from_utf8(&bytes[start..]).unwrap_or_default()
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text(&mut [0; DECIMAL_BYTES]))
    }
}

impl Serialize for Micros {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text(&mut [0; DECIMAL_BYTES]))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_read_exactly() {
        for (text, micros) in [
            ("0", 0),
            ("100", 100_000_000),
            ("1.01", 1_010_000),
            ("-0.000001", -1),
            ("007.50", 7_500_000),
            ("1.0000000", 1_000_000),
        ] {
            assert_eq!(parse_micros(text), Ok(micros), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_plain_decimal_is_refused() {
        for text in [
            "", "-", ".", "1.", ".5", "NaN", "inf", "-inf", "1e400", "1e2", "+1", " 1", "1 ", "1,000", "0x10", "--1",
            "1.2.3", "١",
        ] {
            assert_eq!(parse_micros(text), Err(MoneyError::NotDecimal), "{text:?}");
        }
        assert_eq!(parse_micros("0.0000001"), Err(MoneyError::TooPrecise));
        assert_eq!(parse_micros("9223372036854.775808"), Err(MoneyError::TooLarge));
        assert_eq!(parse_micros("9223372036854.775807"), Ok(i64::MAX));
    }

    #[test]
    fn money_travels_as_a_decimal_string_with_its_currency() {
        let money: Money = serde_json::from_str(r#"{"amount":"12.5","currency":"EUR"}"#).unwrap();
        assert_eq!(serde_json::to_string(&money).unwrap(), r#"{"amount":"12.50","currency":"EUR"}"#);
        for bad in [r#"{"amount":12.5,"currency":"EUR"}"#, r#"{"amount":"1","currency":"eur"}"#, r#"{"amount":"1"}"#] {
            assert!(serde_json::from_str::<Money>(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(micros in (i64::MIN + 1)..=i64::MAX) {
            prop_assert_eq!(parse_micros(&format_micros(micros.into())), Ok(micros));
        }

        #[test]
        fn a_sum_beyond_64_bits_is_written_whole(micros: i128) {
            let text = Micros(micros).to_string();
            let (units, places) = text.split_once('.').unwrap();
            prop_assert!((2..=6).contains(&places.len()) && (places.len() == 2 || !places.ends_with('0')));
            prop_assert_eq!(format!("{units}{places:0<6}").parse::<i128>().unwrap(), micros);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = parse_micros(&text);
        }
    }
}
