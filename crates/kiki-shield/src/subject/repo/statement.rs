//! A statement that is put together: its values are bound as `$1`, `$2`, …, which both databases read. sqlx's own builder
//! writes `?` for its `Any` driver, which PostgreSQL does not.

use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, Arguments as _, AssertSqlSafe, Encode, Type};

/// A statement in the making.
pub(super) struct Statement {
    text: String,
    values: AnyArguments,
    /// What a value was that could not be bound; the query then fails with it.
    failed: Option<sqlx::error::BoxDynError>,
}

/// A row of values.
pub(super) struct Row<'a> {
    statement: &'a mut Statement,
    separator: &'static str,
}

impl Statement {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), values: AnyArguments::default(), failed: None }
    }

    pub(super) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    pub(super) fn bind<'t, T: Encode<'t, Any> + Type<Any>>(&mut self, value: T) -> &mut Self {
        match self.values.add(value) {
            Ok(()) => self.text.push_str(&format!("${}", self.values.len())),
            Err(error) => self.failed = Some(error),
        }
        self
    }

    /// ` AND <column> IN (…)`; without values nothing is among them.
    pub(super) fn among(&mut self, column: &str, values: impl IntoIterator<Item = impl ToString>) -> &mut Self {
        self.push(" AND ").push(column).push(" IN (");
        let mut list = Row { statement: self, separator: "" };
        for value in values {
            list.bind(value.to_string());
        }
        if list.separator.is_empty() {
            self.push("NULL");
        }
        self.push(")")
    }

    /// `VALUES (…), (…)`: a row an item.
    pub(super) fn rows<I>(&mut self, items: &[I], write: impl Fn(&mut Row<'_>, &I)) -> &mut Self {
        self.push("VALUES ");
        for (at, item) in items.iter().enumerate() {
            self.push(if at == 0 { "(" } else { ", (" });
            write(&mut Row { statement: self, separator: "" }, item);
            self.push(")");
        }
        self
    }

    pub(super) fn query(self) -> Result<Query<'static, Any, AnyArguments>, sqlx::Error> {
        match self.failed {
            None => Ok(sqlx::query_with(AssertSqlSafe(self.text), self.values)),
            Some(error) => Err(sqlx::Error::Encode(error)),
        }
    }
}

impl Row<'_> {
    pub(super) fn bind<'t, T: Encode<'t, Any> + Type<Any>>(&mut self, value: T) -> &mut Self {
        self.statement.push(self.separator).bind(value);
        self.separator = ", ";
        self
    }
}
