//! Which column, or key, is what: by the name that was given, else by a name that is in use for it.

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
    const fn as_str(self) -> &'static str {
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
    fn find(self, header: &[String], options: &OrderOptions) -> Result<usize, String> {
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

/// Names in use for what was refunded of an order.
const REFUND_NAMES: [&str; 4] = ["refunded_amount", "refund_amount", "amount_refunded", "total_refunded"];

/// Where the columns are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Places {
    /// Customer, date and amount.
    pub(super) required: [usize; 3],
    /// What was refunded of the order, where there is such a column.
    pub(super) refund: Option<usize>,
}

impl Places {
    /// In a header, each column once.
    pub(super) fn find(header: &[String], options: &OrderOptions) -> Result<Self, String> {
        let places = [Column::Customer, Column::Date, Column::Amount].map(|column| column.find(header, options));
        let missing: Vec<&str> = places.iter().filter_map(|place| place.as_ref().err().map(String::as_str)).collect();
        if !missing.is_empty() {
            return Err(missing.join("; "));
        }
        let required = places.map(Result::unwrap_or_default);
        distinct(header, required)?;
        let refund = match &options.refund_column {
            Some(name) => Some(find_named(header, name).ok_or_else(|| {
                format!("there is no column {name:?} for the refund; there are: {}", header.join(", "))
            })?),
            None => REFUND_NAMES.iter().find_map(|name| find_named(header, name)),
        };
        match refund.filter(|place| required.contains(place)) {
            Some(place) => {
                let name = header.get(place).map_or("", String::as_str);
                Err(format!("the column {name:?} cannot be that of the refund as well; name it with --refund-column"))
            }
            None => Ok(Self { required, refund }),
        }
    }
}

/// The first column of that name, spelled the same but for case, spaces and hyphens.
pub(super) fn find_named(header: &[String], name: &str) -> Option<usize> {
    let exact = header.iter().position(|column| column == name);
    exact.or_else(|| header.iter().position(|column| normal(column) == normal(name)))
}

/// Refuses a column that has two roles.
fn distinct(header: &[String], places: [usize; 3]) -> Result<(), String> {
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

pub(super) fn normal(name: &str) -> String {
    name.trim().to_lowercase().replace([' ', '-'], "_")
}
