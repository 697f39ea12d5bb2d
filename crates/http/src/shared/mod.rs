//! What handlers have in common.

pub(crate) mod answer;
pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod carry_on;
pub(crate) mod context;
pub(crate) mod description;
pub(crate) mod error;
pub(crate) mod large;
pub(crate) mod log_limit;
pub(crate) mod need;
pub(crate) mod observe;
pub(crate) mod pages;
pub(crate) mod path;
pub(crate) mod proxies;
pub(crate) mod query;
pub(crate) mod rates;
pub(crate) mod requests;
pub(crate) mod routes;
pub(crate) mod scope;
pub(crate) mod time_limit;
