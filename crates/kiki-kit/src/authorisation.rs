//! Who asks ([`Authenticator`]) and whether they may ([`Allowed`]).
//!
//! The service layer authenticates every request once and leaves the outcome in its extensions. A handler that needs a
//! permission takes `Allowed<can::SpendWrite>` as a parameter: without it the handler cannot be called, with it the
//! principal is at hand. A principal that is in the extensions already (a call inside the process) is kept; requests from
//! a socket come without extensions.

mod authenticate;
pub mod can;
mod network;

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{Extensions, StatusCode};
use kiki_types::{Permission, Principal};
use tonic::Status;

pub(crate) use authenticate::Refusal;
pub use authenticate::{API_KEY, ApiKey, Authenticator};
pub use network::RemoteNetwork;

use crate::problem::Problem;

/// A type that stands for a permission; see [`can`].
pub trait Can: Send + Sync + 'static {
    /// The permission.
    const PERMISSION: Permission;
}

/// Proof that who asks has the permission `P`, and who that is.
pub struct Allowed<P> {
    principal: Arc<Principal>,
    permission: PhantomData<fn() -> P>,
}

impl<P: Can> Allowed<P> {
    /// Checks `principal`, for work that no request started.
    ///
    /// # Errors
    /// 403 `permission_denied`.
    pub fn check(principal: Arc<Principal>) -> Result<Self, Problem> {
        if principal.permissions.contains(P::PERMISSION) {
            Ok(Self { principal, permission: PhantomData })
        } else {
            Err(Problem::permission_denied(P::PERMISSION))
        }
    }

    /// Checks who sent the request that `extensions` belong to.
    ///
    /// # Errors
    /// 401 `unauthenticated`, 403 `cross_site`, 403 `permission_denied`.
    pub fn from_extensions(extensions: &Extensions) -> Result<Self, Problem> {
        match extensions.get::<Arc<Principal>>() {
            Some(principal) => Self::check(Arc::clone(principal)),
            None => Err(extensions.get::<Refusal>().copied().unwrap_or(Refusal::Nobody).into()),
        }
    }

    /// Checks who sent a gRPC request.
    ///
    /// # Errors
    /// `unauthenticated` or `permission_denied`, as from [`Self::from_extensions`].
    pub fn from_grpc<T>(request: &tonic::Request<T>) -> Result<Self, Status> {
        Self::from_extensions(request.extensions()).map_err(Status::from)
    }

    /// Who asks, to be kept beyond the request.
    #[must_use]
    pub fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }
}

impl<P> Deref for Allowed<P> {
    type Target = Principal;

    fn deref(&self) -> &Principal {
        &self.principal
    }
}

impl<P> Clone for Allowed<P> {
    fn clone(&self) -> Self {
        Self { principal: Arc::clone(&self.principal), permission: PhantomData }
    }
}

impl<P> fmt::Debug for Allowed<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Allowed").field(&self.principal).finish()
    }
}

impl<P: Can, S: Send + Sync> FromRequestParts<S> for Allowed<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::from_extensions(&parts.extensions)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Nobody => {
                Self::unauthenticated("Send a key in the header x-internal-api-key, or as a bearer token.")
            }
            Refusal::UnknownKey => Self::unauthenticated("The key is not known."),
            Refusal::CrossSite => Self::new(
                StatusCode::FORBIDDEN,
                "cross_site",
                "A page of another site may not act as the local operator. Call from this host, or send a key.",
            ),
        }
    }
}
