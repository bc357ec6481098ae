//! Reading columns: the three stored types as the values that they stand for. Errors name the column.

use std::fmt::Display;
use std::str::FromStr;

use kiki_types::{Currency, Money, TenantId, UnixMillis};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::StoreError;

/// Reads the columns of a row by name. An error is a [`StoreError::Unreadable`], or a [`StoreError::Sql`] where the
/// query has no such column.
pub trait Columns {
    /// TEXT.
    ///
    /// # Errors
    /// The column is missing, NULL or of another type.
    fn text(&self, column: &str) -> Result<String, StoreError>;

    /// TEXT or NULL.
    ///
    /// # Errors
    /// The column is missing or of another type.
    fn text_opt(&self, column: &str) -> Result<Option<String>, StoreError>;

    /// BIGINT.
    ///
    /// # Errors
    /// The column is missing, NULL or of another type.
    fn int(&self, column: &str) -> Result<i64, StoreError>;

    /// BIGINT or NULL.
    ///
    /// # Errors
    /// The column is missing or of another type.
    fn int_opt(&self, column: &str) -> Result<Option<i64>, StoreError>;

    /// Bytes or NULL.
    ///
    /// # Errors
    /// The column is missing or of another type.
    fn bytes_opt(&self, column: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// TEXT as what it spells: an id, a name, a state.
    ///
    /// # Errors
    /// As [`Columns::text`], and the text spells no `T`.
    fn parsed<T: FromStr<Err: Display>>(&self, column: &str) -> Result<T, StoreError> {
        self.text(column)?.parse().map_err(|error: T::Err| unreadable(column, &error))
    }

    /// TEXT as what it spells, or NULL.
    ///
    /// # Errors
    /// As [`Columns::text_opt`], and the text spells no `T`.
    fn parsed_opt<T: FromStr<Err: Display>>(&self, column: &str) -> Result<Option<T>, StoreError> {
        let text = self.text_opt(column)?;
        text.map(|text| text.parse().map_err(|error: T::Err| unreadable(column, &error))).transpose()
    }

    /// BIGINT as milliseconds since 1970.
    ///
    /// # Errors
    /// As [`Columns::int`].
    fn time(&self, column: &str) -> Result<UnixMillis, StoreError> {
        self.int(column).map(UnixMillis)
    }

    /// A name of a tenant.
    ///
    /// # Errors
    /// As [`Columns::parsed`].
    fn tenant(&self, column: &str) -> Result<TenantId, StoreError> {
        self.parsed(column)
    }

    /// BIGINT micros and TEXT currency as money.
    ///
    /// # Errors
    /// As [`Columns::int`] and [`Columns::parsed`].
    fn money(&self, micros: &str, currency: &str) -> Result<Money, StoreError> {
        Ok(Money::new(self.int(micros)?, self.parsed::<Currency>(currency)?))
    }
}

impl Columns for AnyRow {
    fn text(&self, column: &str) -> Result<String, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn text_opt(&self, column: &str) -> Result<Option<String>, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn int(&self, column: &str) -> Result<i64, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn int_opt(&self, column: &str) -> Result<Option<i64>, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn bytes_opt(&self, column: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.try_get(column)?)
    }
}

fn unreadable(column: &str, why: &dyn Display) -> StoreError {
    StoreError::Unreadable { column: column.to_owned(), why: why.to_string() }
}
