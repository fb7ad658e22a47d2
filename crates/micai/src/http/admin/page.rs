//! Lists in pages: how many rows, where the next page begins.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::error::Problem;

/// Rows of a page when the request does not say.
pub(super) const PAGE_ROWS_DEFAULT: usize = 50;
/// The most bytes of an id inside a cursor: the longest id in its widest encoding.
const CURSOR_ID_BYTES_MAX: usize = 640;

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The rows.
    items: Vec<T>,
    /// Give this as `cursor` to get the next page; null on the last one.
    next_cursor: Option<String>,
}

/// How many rows a page has.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageRows(usize);

impl PageRows {
    /// What the request asks for, at most `rows_max`.
    pub(super) fn new(limit: Option<u32>, rows_max: usize) -> Result<Self, Problem> {
        let Some(limit) = limit else {
            return Ok(Self(PAGE_ROWS_DEFAULT.min(rows_max)));
        };
        match usize::try_from(limit) {
            Ok(rows) if (1..=rows_max).contains(&rows) => Ok(Self(rows)),
            _ => {
                let message = format!("is {limit}; it must lie between 1 and {rows_max}");
                Err(Problem::bad_request("limit_out_of_range", format!("`limit` {message}."))
                    .with_field("limit", message))
            }
        }
    }

    /// How many rows to ask the store for: one more than the page shows, which tells whether there is another page.
    pub(super) fn to_fetch(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX).saturating_add(1)
    }

    /// The page from the rows that came back; `id` names a row in a cursor.
    pub(super) fn page<T>(self, mut rows: Vec<T>, id: impl Fn(&T) -> &[u8]) -> Page<T> {
        let is_last = rows.len() <= self.0;
        rows.truncate(self.0);
        let next_cursor = rows.last().filter(|_| !is_last).map(|row| hex::encode(id(row)));
        Page { items: rows, next_cursor }
    }
}

/// The row that a cursor names, in a list ordered by UUID.
pub(super) fn uuid_cursor(cursor: Option<&str>) -> Result<Option<Uuid>, Problem> {
    let read = |cursor| Uuid::from_slice(&decode(cursor)?).ok();
    cursor.map(|cursor| read(cursor).ok_or_else(bad_cursor)).transpose()
}

/// The row that a cursor names, in a list ordered by an id of the operator's; empty for the beginning.
pub(super) fn text_cursor(cursor: Option<&str>) -> Result<String, Problem> {
    let read = |cursor| String::from_utf8(decode(cursor)?).ok().filter(|id| !id.contains('\0'));
    cursor.map_or(Ok(String::new()), |cursor| read(cursor).ok_or_else(bad_cursor))
}

fn decode(cursor: &str) -> Option<Vec<u8>> {
    let fits = !cursor.is_empty() && cursor.len() <= 2 * CURSOR_ID_BYTES_MAX;
    fits.then(|| hex::decode(cursor).ok())?
}

fn bad_cursor() -> Problem {
    let message = "is not one of ours; give back `next_cursor` of the page before, or leave it out to begin again";
    Problem::bad_request("cursor_invalid", format!("`cursor` {message}.")).with_field("cursor", message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_page_is_as_long_as_asked_for_within_the_bound() {
        for (limit, rows_max, rows) in [
            (None, 100, Some(50)),
            (None, 20, Some(20)),
            (Some(1), 100, Some(1)),
            (Some(100), 100, Some(100)),
            (Some(0), 100, None),
            (Some(101), 100, None),
            (Some(u32::MAX), 100, None),
        ] {
            let outcome = PageRows::new(limit, rows_max).map(|rows| rows.0);
            assert_eq!(outcome.as_ref().ok(), rows.as_ref(), "{limit:?} of {rows_max}");
            if let Err(problem) = outcome {
                assert_eq!(problem.code(), "limit_out_of_range");
            }
        }
    }

    #[test]
    fn a_cursor_leads_back_to_its_row_and_stands_only_before_more() {
        let id = "règle/1";
        let page = PageRows(1).page(vec![id, "next"], |id| id.as_bytes());
        assert_eq!(page.items, [id]);
        assert_eq!(text_cursor(page.next_cursor.as_deref()).unwrap(), id);
        assert_eq!(PageRows(2).page(vec![id, "next"], |id| id.as_bytes()).next_cursor, None);
        assert_eq!(PageRows(2).page(Vec::<&str>::new(), |id| id.as_bytes()).next_cursor, None);

        let id = Uuid::from_u128(7);
        let page = PageRows(1).page(vec![id, Uuid::nil()], |id| id.as_bytes());
        assert_eq!(uuid_cursor(page.next_cursor.as_deref()).unwrap(), Some(id));
        assert_eq!((uuid_cursor(None).unwrap(), text_cursor(None).unwrap()), (None, String::new()));
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        let long = "61".repeat(CURSOR_ID_BYTES_MAX + 1);
        for cursor in ["", "x", "zz", "616", "ff", "00", &long] {
            assert_eq!(text_cursor(Some(cursor)).unwrap_err().code(), "cursor_invalid", "{cursor}");
        }
        for cursor in ["", "x", "61", &long, "00000000-0000-0000-0000-000000000007"] {
            assert_eq!(uuid_cursor(Some(cursor)).unwrap_err().code(), "cursor_invalid", "{cursor}");
        }
    }
}
