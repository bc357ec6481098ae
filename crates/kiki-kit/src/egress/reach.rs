//! Which addresses a request to others may go to (server-side request forgery: OWASP SSRF cheat sheet; the registries of
//! special-purpose addresses: RFC 6890 and IANA).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// What requests to others may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Public addresses alone.
    Public,
    /// This machine, too.
    Loopback,
    /// This machine and private networks, too.
    Private,
}

impl Reach {
    /// Whether a connection to `address` may be opened. Link-local addresses, where clouds answer for a machine's
    /// credentials, never may.
    #[must_use]
    pub fn allows(self, address: IpAddr) -> bool {
        match Zone::of(address) {
            Zone::Public => true,
            Zone::Loopback => self >= Self::Loopback,
            Zone::Private => self >= Self::Private,
            Zone::Special => false,
        }
    }
}

impl FromStr for Reach {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "public" => Ok(Self::Public),
            "loopback" => Ok(Self::Loopback),
            "private" => Ok(Self::Private),
            _ => Err(()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Zone {
    Public,
    Loopback,
    Private,
    /// Link-local, multicast, reserved, metadata, and what hides another address inside.
    Special,
}

/// Addresses outside the link-local range at which clouds answer for a machine's credentials.
const METADATA: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

impl Zone {
    fn of(address: IpAddr) -> Self {
        let address = address.to_canonical();
        if METADATA.contains(&address) {
            return Self::Special;
        }
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            [127, ..] => Self::Loopback,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Self::Private,
            [0 | 224..=255, ..] | [169, 254, ..] | [198, 18..=19, ..] => Self::Special,
            [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 51, 100, _] | [203, 0, 113, _] => Self::Special,
            _ => Self::Public,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        match address.segments() {
            [0, 0, 0, 0, 0, 0, 0, 1] => Self::Loopback,
            [0xfc00..=0xfdff, ..] => Self::Private,
            // NAT64 (RFC 6052) and 6to4 (RFC 3056) lead to the IPv4 address inside; it must be public itself.
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
                let inner = Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
                if Self::of(inner.into()) == Self::Public { Self::Public } else { Self::Special }
            }
            // IETF protocol assignments with Teredo, documentation.
            [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Self::Special,
            [0x2000..=0x3fff, ..] => Self::Public,
            _ => Self::Special,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_public_is_told_from_what_is() {
        for (address, zone) in [
            ("93.184.215.14", Zone::Public),
            ("172.32.0.1", Zone::Public),
            ("100.128.0.1", Zone::Public),
            ("2606:4700::1111", Zone::Public),
            ("64:ff9b::5db8:d70e", Zone::Public),
            ("127.0.0.1", Zone::Loopback),
            ("127.255.0.3", Zone::Loopback),
            ("::1", Zone::Loopback),
            ("::ffff:127.0.0.1", Zone::Loopback),
            ("10.1.2.3", Zone::Private),
            ("172.16.0.1", Zone::Private),
            ("172.31.255.255", Zone::Private),
            ("192.168.1.1", Zone::Private),
            ("100.64.0.1", Zone::Private),
            ("::ffff:10.0.0.1", Zone::Private),
            ("fd12::1", Zone::Private),
            ("0.0.0.0", Zone::Special),
            ("169.254.169.254", Zone::Special),
            ("168.63.129.16", Zone::Special),
            ("100.100.100.200", Zone::Special),
            ("224.0.0.1", Zone::Special),
            ("255.255.255.255", Zone::Special),
            ("198.18.0.1", Zone::Special),
            ("203.0.113.1", Zone::Special),
            ("::", Zone::Special),
            ("fe80::1", Zone::Special),
            ("ff02::1", Zone::Special),
            ("fd00:ec2::254", Zone::Special),
            ("::ffff:169.254.169.254", Zone::Special),
            ("64:ff9b::a9fe:a9fe", Zone::Special),
            ("64:ff9b::7f00:1", Zone::Special),
            ("2002:7f00:1::", Zone::Special),
            ("2001::1", Zone::Special),
            ("2001:db8::1", Zone::Special),
            ("::127.0.0.1", Zone::Special),
        ] {
            assert_eq!(Zone::of(address.parse().unwrap()), zone, "{address}");
        }
    }

    #[test]
    fn each_reach_allows_what_it_says() {
        let addresses = ["93.184.215.14", "127.0.0.1", "10.0.0.1", "169.254.169.254"].map(|text| text.parse().unwrap());
        for (reach, allowed) in [
            (Reach::Public, [true, false, false, false]),
            (Reach::Loopback, [true, true, false, false]),
            (Reach::Private, [true, true, true, false]),
        ] {
            assert_eq!(addresses.map(|address| reach.allows(address)), allowed, "{reach:?}");
        }
    }
}
