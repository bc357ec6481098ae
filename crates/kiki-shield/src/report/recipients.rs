//! Who is told what (GDPR Art. 15(1)(c), Art. 30(1)(d)): computed from the configuration and from what tenants registered.

use http::Uri;
use kiki_store::StoreError;
use kiki_types::TenantId;

use super::repo;
use crate::service::Shield;

/// Recipients that the configuration names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configured {
    /// Where the log is copied to.
    pub shelf: Option<String>,
    /// Services with a database of their own that are asked about people.
    pub peers: Vec<String>,
}

/// Somebody who is told something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recipient {
    pub(crate) who: String,
    pub(crate) role: &'static str,
    pub(crate) receives: &'static str,
    /// Whose it is, as people are told, who need no address of it. `None` of what receives nothing about them.
    pub(crate) whose: Option<String>,
}

/// Whose a system is that has no name outside.
const OWN: &str = "the controller";
/// Endings of names that mean nothing outside.
const INNER: [&str; 6] = ["internal", "local", "localhost", "lan", "home", "corp"];

impl Shield {
    /// Who is told something about the tenant's people, or of what happens to them.
    pub(crate) async fn recipients(
        &self,
        tenant: &TenantId,
        configured: &Configured,
    ) -> Result<Vec<Recipient>, StoreError> {
        let webhooks = repo::webhooks(&self.0.store, tenant).await?;
        Ok(recipients(configured, &self.0.subjects.status().master, &webhooks))
    }
}

/// What endpoints of webhooks receive.
const EVENTS: &str = "events about money and deadlines, without names";

/// Whose `host` is, by the end of its name: `example.com` of `hooks.example.com`, `example.co.uk` of `a.example.co.uk`.
fn organisation(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    let labels: Vec<&str> = host.trim_end_matches('.').split('.').collect();
    // The last part of an address of numbers is none; one in another script is written with digits, too.
    let is_ending = |last: &str| last.starts_with("xn--") || last.bytes().all(|byte| byte.is_ascii_alphabetic());
    let is_inner = |last: &str| INNER.contains(&last) || !is_ending(last);
    let kept = match labels[..] {
        [.., last] if labels.len() == 1 || last.is_empty() || is_inner(last) => return OWN.to_owned(),
        // Such as co.uk and com.au.
        [.., second, last] if labels.len() > 2 && last.len() == 2 && second.len() <= 3 => 3,
        _ => 2,
    };
    labels[labels.len() - kept..].join(".")
}

fn recipients(configured: &Configured, master: &str, webhooks: &[String]) -> Vec<Recipient> {
    let of = |who: &str, role, receives, whose| Recipient { who: who.to_owned(), role, receives, whose };
    let one = |who: &str, role, receives| of(who, role, receives, Some(OWN.to_owned()));
    let mut hosts: Vec<_> =
        webhooks.iter().filter_map(|url| Some(url.parse::<Uri>().ok()?.host()?.to_owned())).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let mut all: Vec<_> = hosts.iter().map(|host| of(host, "webhook", EVENTS, Some(organisation(host)))).collect();
    let peers = configured.peers.iter();
    all.extend(peers.map(|peer| one(peer, "service apart", "customer ids, to answer requests of those people")));
    let shelf = configured.shelf.iter();
    all.extend(shelf.map(|shelf| one(shelf, "copy of the log", "entries, which name people by keyed hashes")));
    if !master.starts_with("file:") && !master.starts_with("env:") {
        all.push(of(master, "master key", "secrets of epochs; no data of persons", None));
    }
    all.push(one("sandbox mailbox", "messages", "kept on this installation; no provider of mail or SMS is used"));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_configured_or_registered_is_named_once() {
        let peers = vec!["value.example:8082".to_owned()];
        let configured = Configured { shelf: Some("s3://logs/kiki".to_owned()), peers };
        let webhooks = ["https://b.example/x", "https://a.example/", "https://b.example/y"].map(str::to_owned);
        let names = |configured: &Configured, master, webhooks: &[String]| -> Vec<String> {
            recipients(configured, master, webhooks).into_iter().map(|one| one.who).collect()
        };
        assert_eq!(
            names(&configured, "vault:https://vault.example/kiki", &webhooks),
            [
                "a.example",
                "b.example",
                "value.example:8082",
                "s3://logs/kiki",
                "vault:https://vault.example/kiki",
                "sandbox mailbox"
            ]
        );
        assert_eq!(names(&Configured::default(), "file:/keys/master.key", &[]), ["sandbox mailbox"]);
    }

    #[test]
    fn people_are_told_of_organisations_and_not_of_addresses() {
        for (host, whose) in [
            ("hooks.example.com", "example.com"),
            ("a.b.example.co.uk", "example.co.uk"),
            ("example.de", "example.de"),
            ("Hooks.Example.COM", "example.com"),
            ("hooks.xn--e1afmkfd.xn--p1ai", "xn--e1afmkfd.xn--p1ai"),
            ("10.0.0.7", OWN),
            ("[::1]", OWN),
            ("kiki-hooks", OWN),
            ("hooks.eu.internal", OWN),
        ] {
            assert_eq!(organisation(host), whose, "{host}");
        }
        let peers = vec!["value.example:8082".to_owned()];
        let configured = Configured { shelf: Some("s3://logs/kiki".to_owned()), peers };
        let told = recipients(&configured, "vault:https://vault.example/kiki", &[]);
        let told: Vec<_> = told.into_iter().map(|one| (one.role, one.whose)).collect();
        let own = Some(OWN.to_owned());
        let expected = [("service apart", &own), ("copy of the log", &own), ("master key", &None), ("messages", &own)];
        assert_eq!(told.iter().map(|(role, whose)| (*role, whose)).collect::<Vec<_>>(), expected);
    }
}
