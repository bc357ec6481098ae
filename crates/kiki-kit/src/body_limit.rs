//! The bound on a request's body, whether or not its length was announced.
//!
//! A sender that is cut off while it writes often loses the answer to a connection reset. So a body beyond the bound
//! is read on and thrown away, up to [`DISCARD_FACTOR`] times the bound, before the reader is told.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody as _};
use bytes::Bytes;
use http::StatusCode;
use http_body::{Frame, SizeHint};
use tonic::Status;

use crate::problem::{Problem, causes};

/// How many times the bound is read and thrown away before the sender is cut off.
const DISCARD_FACTOR: u64 = 4;

/// The body is larger than its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body is larger than its bound")
    }
}

impl Error for TooLarge {}

/// Whether `error`, or what caused it, is [`TooLarge`].
pub(crate) fn is_too_large(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(<dyn Error>::is::<TooLarge>)
}

/// The problem that says so.
pub(crate) fn too_large() -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "The body is larger than this service accepts.")
}

/// A body of at most `limit` bytes. Reading beyond fails with [`TooLarge`], or where gRPC reads with the status that it
/// looks for among the causes.
#[derive(Debug)]
pub(crate) struct Limited {
    inner: Body,
    limit: u64,
    seen: u64,
    grpc: bool,
}

impl Limited {
    pub(crate) fn new(inner: Body, limit: u64, grpc: bool) -> Self {
        Self { inner, limit, seen: 0, grpc }
    }

    fn error(&self) -> axum::Error {
        if self.grpc { axum::Error::new(Status::from(too_large())) } else { axum::Error::new(TooLarge) }
    }

    /// Reads to the end and keeps nothing, so that the sender gets to read an answer. Bounded like all reading.
    pub(crate) async fn discard(mut self) {
        while let Some(Ok(_)) = std::future::poll_fn(|cx| Pin::new(&mut self).poll_frame(cx)).await {}
    }
}

impl http_body::Body for Limited {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        loop {
            let frame = match std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                // Whatever ends it, the end of a body beyond its bound is this error.
                _ if self.seen > self.limit => return Poll::Ready(Some(Err(self.error()))),
                end => return Poll::Ready(end),
            };
            self.seen = self.seen.saturating_add(frame.data_ref().map_or(0, |data| data.len() as u64));
            if self.seen <= self.limit {
                return Poll::Ready(Some(Ok(frame)));
            }
            if self.seen > self.limit.saturating_mul(DISCARD_FACTOR) {
                return Poll::Ready(Some(Err(self.error())));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.seen <= self.limit && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
