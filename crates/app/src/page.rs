//! Pages of lists.

/// The most entries of a page of organizations, users, members or tokens.
pub const LISTED_MAX: usize = 1000;

/// The most bytes of payloads and responses in a list. The list ends with the row that reaches this number. A hundred of the
/// largest rows would take 30 MiB for each reader.
pub const LIST_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page<T, C> {
    /// Its items.
    pub items: Vec<T>,
    /// The start of the next page, if there is one.
    pub next: Option<C>,
}

/// The number of rows to read for a page of `limit`. The additional row shows whether there is a next page.
pub(crate) fn one_more(limit: usize) -> u32 {
    u32::try_from(limit.saturating_add(1)).unwrap_or(u32::MAX)
}

impl<T, C> Page<T, C> {
    /// The first `limit` of `items`. If there are more, the next page begins after the last item of this one.
    pub(crate) fn cut(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> C) -> Self {
        let is_cut = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| is_cut).map(cursor);
        Self { items, next }
    }

    /// This page with every item converted by `show`.
    pub(crate) fn map<U>(self, show: impl Fn(T) -> U) -> Page<U, C> {
        Page { items: self.items.into_iter().map(show).collect(), next: self.next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(count: u32, limit: usize, expected: &[u32], next: Option<u32>) {
        let page = Page::cut((1..=count).collect(), limit, |item| *item);
        assert_eq!((page.items.as_slice(), page.next), (expected, next), "{limit} of {count}");
    }

    #[test]
    fn pages_are_cut() {
        check(0, 2, &[], None);
        check(2, 2, &[1, 2], None);
        check(3, 2, &[1, 2], Some(2));
        assert_eq!(one_more(2), 3);
    }
}
