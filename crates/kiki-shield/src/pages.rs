//! Lists come in pages: how long one is.

use crate::error::ShieldError;

/// Entries of a page unless the caller says.
const PAGE: usize = 100;
/// Entries of a page at the most.
const PAGE_MAX: usize = 1000;

/// The length of a page, as HTTP asks for it.
pub(crate) fn limit(asked: Option<usize>) -> Result<usize, ShieldError> {
    match asked.unwrap_or(PAGE) {
        limit @ 1..=PAGE_MAX => Ok(limit),
        _ => Err(ShieldError::invalid("limit", format_args!("must be 1 to {PAGE_MAX}"))),
    }
}

/// The length of a page, as gRPC asks for it: 0 is what nobody said.
pub(crate) fn size(asked: i32) -> Result<usize, ShieldError> {
    match usize::try_from(asked) {
        Ok(0) => Ok(PAGE),
        Ok(size @ 1..=PAGE_MAX) => Ok(size),
        _ => Err(ShieldError::invalid("page_size", format_args!("must be 0 to {PAGE_MAX}"))),
    }
}

/// Where the next page begins: after the last entry of a page that is full.
pub(crate) fn next<T, N>(page: &[T], limit: usize, name: impl FnOnce(&T) -> N) -> Option<N> {
    page.last().filter(|_| page.len() == limit).map(name)
}
