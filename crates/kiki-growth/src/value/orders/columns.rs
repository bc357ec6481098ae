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
        let same = |name: &str| the_one(header, name, |column| normal(column) == normal(name), self);
        let there = || header.join(", ");
        if let Some(name) = self.option(options) {
            let missing = || format!("there is no column {name:?} for the {}; there are: {}", self.as_str(), there());
            let exact = the_one(header, name, |column| column == name, self);
            return exact.or_else(|| same(name)).unwrap_or_else(|| Err(missing()));
        }
        self.names().iter().find_map(|name| same(name)).unwrap_or_else(|| {
            let names = self.names().join(", ");
            let option = self.as_str();
            Err(format!(
                "no column is named as a {option} is ({names}); there are: {}; name it with --{option}-column",
                there()
            ))
        })
    }
}

/// The place of the one column that `fits` the name; an error where several do, `None` where none does.
fn the_one(header: &[String], name: &str, fits: impl Fn(&str) -> bool, role: Column) -> Option<Result<usize, String>> {
    let mut places = header.iter().enumerate().filter(|(_, column)| fits(column)).map(|(place, _)| place);
    let first = places.next()?;
    if places.next().is_none() {
        return Some(Ok(first));
    }
    let role = role.as_str();
    Some(Err(format!("more than one column is named {name:?}; name the one of the {role} with --{role}-column")))
}

/// Refuses a column that has two roles.
pub(super) fn distinct(header: &[String], places: [usize; 3]) -> Result<(), String> {
    let [customer, date, amount] = places.map(|place| header.get(place).map_or("", String::as_str));
    let twice = match places {
        [one, other, _] if one == other => Some((customer, Column::Customer, Column::Date)),
        [one, _, other] if one == other => Some((amount, Column::Customer, Column::Amount)),
        [_, one, other] if one == other => Some((date, Column::Date, Column::Amount)),
        _ => None,
    };
    twice.map_or(Ok(()), |(name, one, other)| {
        let (one, other) = (one.as_str(), other.as_str());
        Err(format!(
            "the column {name:?} is taken for the {one} and for the {other}; name them with --{one}-column and \
             --{other}-column"
        ))
    })
}

fn normal(name: &str) -> String {
    name.trim().to_lowercase().replace([' ', '-'], "_")
}
