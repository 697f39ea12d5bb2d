//! Schemes of the `Authorization` header.

/// A scheme of the `Authorization` header, in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheme(&'static str);

impl Scheme {
    /// `token`: an access token, as Pulumi's clients send it.
    pub const TOKEN: Self = Self("token");
    /// `Bearer`: an access token.
    pub const BEARER: Self = Self("Bearer");

    /// A scheme by its name: visible ASCII without spaces.
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// The name, as a 401 shows it.
    pub const fn name(self) -> &'static str {
        self.0
    }
}

/// The schemes that a route takes, the preferred one first. A 401 names that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schemes(&'static [Scheme]);

impl Schemes {
    /// The two schemes of access tokens. Routes take these unless they declare others.
    pub const ACCESS_TOKEN: Self = Self::new(&[Scheme::TOKEN, Scheme::BEARER]);

    /// These schemes.
    ///
    /// # Panics
    /// If there is none: no caller could use the route.
    pub const fn new(schemes: &'static [Scheme]) -> Self {
        assert!(!schemes.is_empty(), "a route takes at least one scheme");
        Self(schemes)
    }

    pub(crate) const fn preferred(self) -> Scheme {
        self.0[0]
    }

    pub(crate) fn find(self, name: &str) -> Option<Scheme> {
        self.0.iter().copied().find(|scheme| scheme.0.eq_ignore_ascii_case(name))
    }

    pub(crate) fn contains(self, scheme: Scheme) -> bool {
        self.0.contains(&scheme)
    }
}
