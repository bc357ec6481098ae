//! Shapes that the descriptions of several services share, for types that know nothing of OpenAPI.

/// An amount of money, as `kiki_types::Money` writes it.
#[derive(utoipa::ToSchema)]
#[schema(as = Money)]
pub struct MoneySchema {
    /// A plain decimal with at most six places.
    #[schema(example = "0.35")]
    pub amount: String,
    /// ISO 4217.
    #[schema(example = "USD")]
    pub currency: String,
}
