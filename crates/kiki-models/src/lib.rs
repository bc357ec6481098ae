//! Models as pure functions: customer lifetime value.
