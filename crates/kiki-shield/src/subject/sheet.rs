//! What a person is told beside their data (GDPR Art. 15(1), (2)).

use std::collections::BTreeSet;
use std::fmt::Write as _;

use kiki_store::personal::{Class, Stores};

use super::export::Given;
use super::model::{Kind, Regime};
use super::repo::Request;
use crate::report::recipients::{Configured, Recipient};

/// Who answers, and how long what is kept. What is not known is said to be so.
#[derive(Clone, Debug, Default)]
pub struct Sheet {
    /// Who the controller is.
    pub controller: Option<String>,
    /// How the controller is reached.
    pub contact: Option<String>,
    /// The data protection officer.
    pub officer: Option<String>,
    /// Whole days that each class is kept.
    pub kept_days: Vec<(Class, u32)>,
    /// Who is told something, as far as the configuration says it.
    pub recipients: Configured,
}

impl Sheet {
    pub(super) fn text(
        &self,
        request: &Request,
        given: &[Given],
        stores: Option<&Stores>,
        recipients: &[Recipient],
    ) -> String {
        let mut text = String::new();
        let or = |line: &Option<String>| line.clone().unwrap_or_else(|| "not stated".to_owned());
        let _ = write!(
            text,
            "This archive answers your request {} of {}.\n\nController: {}\nContact: {}\nData protection officer: {}\n\n",
            request.id,
            request.received_on,
            or(&self.controller),
            or(&self.contact),
            or(&self.officer)
        );
        text.push_str(
            "What is in it\n  manifest.json names each file with its SHA-256, and each place that was asked.\n  \
             Each file is there as JSON and as CSV with the same records.\n",
        );
        if request.kind == Kind::Portability {
            text.push_str("  It holds what you provided; ask for ACCESS to see all that is held.\n");
        }
        text.push_str("\nCategories of data, and how long they are kept\n");
        for (category, class) in kept(given) {
            let days = self.kept_days.iter().find(|(of, _)| *of == class).map(|(_, days)| *days);
            let length =
                days.map_or("as long as it is needed".to_owned(), |days| format!("{days} days ({})", class.as_str()));
            let _ = writeln!(text, "  {category}: {length}");
        }
        text.push_str(
            "\nPurposes\n  Those of your consents (see the file of consents, if there is one), and to answer for what was \
             decided.\n\nRecipients\n",
        );
        text.push_str(&self.told(stores, recipients));
        text.push_str(match request.regime {
            Regime::Gdpr => GDPR_RIGHTS,
            Regime::Ccpa => CCPA_RIGHTS,
        });
        text
    }
}

impl Sheet {
    /// A line for the parts of this installation, and one for each recipient beside it: what it is for and whose it is. Where
    /// it is and what its keys are called is for no stranger to know.
    fn told(&self, stores: Option<&Stores>, recipients: &[Recipient]) -> String {
        let services = stores.into_iter().flat_map(Stores::iter).map(|store| store.declared().service);
        let is_apart = |service: &str| self.recipients.peers.iter().any(|peer| peer == service);
        let own: BTreeSet<_> = services.filter(|service| !is_apart(service)).collect();
        let mut text = format!("  Parts of this installation: {}.\n", own.into_iter().collect::<Vec<_>>().join(", "));
        let line = |one: &Recipient| {
            let Recipient { role, receives, whose, .. } = one;
            whose.as_ref().map(|whose| format!("  {role}, of {whose}: {receives}.\n"))
        };
        let mut lines: Vec<_> = recipients.iter().filter_map(line).collect();
        lines.dedup();
        text.extend(lines);
        text
    }
}

/// Each category with the longest class that it is kept in.
fn kept(given: &[Given]) -> Vec<(&'static str, Class)> {
    let tables = given.iter().flat_map(|given| given.store.tables);
    let mut kept: Vec<(&str, Class)> =
        tables.flat_map(|table| table.categories.iter().map(|&category| (category, table.class))).collect();
    kept.sort_unstable();
    kept.reverse();
    kept.dedup_by_key(|(category, _)| *category);
    kept.reverse();
    kept
}

const GDPR_RIGHTS: &str = "\nYour rights\n  \
    You may have data put right (Art. 16) or erased (Art. 17), have their use restricted (Art. 18), object to it (Art. 21),\n  \
    and take along what you provided (Art. 20). You may take back a consent at any time (Art. 7(3)).\n  \
    You may complain to a supervisory authority (Art. 77).\n\nAutomated decisions\n  \
    Whether you are written to is decided by rules: by your consent, by budgets, and by an estimate of future purchases\n  \
    made from past ones. Each such decision stands in the file of decisions, if there was one.\n";
const CCPA_RIGHTS: &str = "\nYour rights\n  \
    You may have data deleted (1798.105) or corrected (1798.106), have them no longer sold or shared (1798.120), and\n  \
    are not treated worse for it (1798.125).\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_category_is_told_once_with_the_longest_time() {
        use kiki_store::personal::{Declared, Table};
        static STORE: Declared = Declared {
            name: "s",
            service: "shield",
            tables: &[
                Table { name: "a", owner: None, holds: &[], categories: &["requests"], class: Class::Sessions },
                Table { name: "b", owner: None, holds: &[], categories: &["requests", "codes"], class: Class::Audit },
            ],
            files: &[],
        };
        let given = [Given { store: &STORE, documents: Vec::new() }];
        assert_eq!(kept(&given), [("codes", Class::Audit), ("requests", Class::Audit)]);
    }

    #[test]
    fn every_recipient_is_told_and_a_service_apart_is_no_part_of_this_installation() {
        use std::sync::Arc;

        use kiki_store::personal::held::AboutNobody;
        use kiki_store::personal::{Declared, PersonalStore};
        const fn of(name: &'static str, service: &'static str) -> Declared {
            Declared { name, service, tables: &[], files: &[] }
        }
        static STORES: [Declared; 3] = [of("a", "shield"), of("b", "engage"), of("apart:8083", "apart:8083")];
        let stores = STORES.iter().map(|declared| Arc::new(AboutNobody(declared)) as Arc<dyn PersonalStore>);
        let stores = Stores::new(stores.collect()).unwrap();
        let recipients = Configured { shelf: None, peers: vec!["apart:8083".to_owned()] };
        let sheet = Sheet { recipients, ..Sheet::default() };
        let whose = Some("the controller".to_owned());
        let who = Recipient { who: "apart:8083".to_owned(), role: "service apart", receives: "customer ids", whose };
        let key = Recipient { who: "vault:x".to_owned(), role: "master key", receives: "secrets", whose: None };
        assert_eq!(
            sheet.told(Some(&stores), &[who.clone(), who, key]),
            "  Parts of this installation: engage, shield.\n  service apart, of the controller: customer ids.\n"
        );
    }
}
