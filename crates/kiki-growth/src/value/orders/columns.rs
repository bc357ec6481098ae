//! Which CSV column is what: by the name that was given, else by a name that is in use for it.

use serde::Serialize;

use super::OrderOptions;

/// What a column is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Column {
    /// Who bought.
    Customer,
    /// When.
    Date,
    /// For how much.
    Amount,
}

impl Column {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Date => "date",
            Self::Amount => "amount",
        }
    }

    /// Names in use, the surest first. Not `id`, which is as often the order's.
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Customer => {
                &["customer_id", "customer", "customerid", "client_id", "user_id", "user", "email", "customer_email"]
            }
            Self::Date => &[
                "order_date",
                "date",
                "created_at",
                "ordered_at",
                "purchase_date",
                "transaction_date",
                "invoice_date",
                "invoicedate",
                "timestamp",
            ],
            Self::Amount => {
                &["amount", "value", "total", "price", "order_value", "order_total", "total_price", "revenue"]
            }
        }
    }

    const fn option(self, options: &OrderOptions) -> &Option<String> {
        match self {
            Self::Customer => &options.customer_column,
            Self::Date => &options.date_column,
            Self::Amount => &options.amount_column,
        }
    }

    /// The place of this column in a header.
    pub(super) fn find(self, header: &[String], options: &OrderOptions) -> Result<usize, String> {
        let same = |one: &str, other: &str| normal(one) == normal(other);
        let place = |name: &str| header.iter().position(|column| same(column, name));
        let there = || header.join(", ");
        if let Some(name) = self.option(options) {
            let missing = || format!("there is no column {name:?} for the {}; there are: {}", self.as_str(), there());
            return header.iter().position(|column| column == name).or_else(|| place(name)).ok_or_else(missing);
        }
        self.names().iter().find_map(|name| place(name)).ok_or_else(|| {
            let names = self.names().join(", ");
            let option = self.as_str();
            format!(
                "no column is named as a {option} is ({names}); there are: {}; name it with --{option}-column",
                there()
            )
        })
    }
}

fn normal(name: &str) -> String {
    name.trim().to_lowercase().replace([' ', '-'], "_")
}
