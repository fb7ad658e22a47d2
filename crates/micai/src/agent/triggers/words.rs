//! Where words begin and end, by the Unicode rules (UAX #29).

use std::cell::OnceCell;

use icu_normalizer::properties::CanonicalCombiningClassMap;
use unicode_segmentation::UnicodeSegmentation;

/// The word boundaries of one text, found when first asked for.
pub(super) struct WordBoundaries<'a> {
    text: &'a str,
    /// One bit for each byte offset, the end of the text included.
    bits: OnceCell<Vec<u64>>,
}

impl<'a> WordBoundaries<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self { text, bits: OnceCell::new() }
    }

    /// Whether a word begins or ends at this byte offset.
    pub(super) fn at(&self, offset: usize) -> bool {
        let bits = self.bits.get_or_init(|| boundary_bits(self.text));
        bits.get(offset / 64).is_some_and(|word| word >> (offset % 64) & 1 == 1)
    }
}

fn boundary_bits(text: &str) -> Vec<u64> {
    let mut bits = vec![0; text.len() / 64 + 1];
    let starts = text.split_word_bound_indices().map(|(offset, _)| offset);
    for offset in starts.chain([text.len()]) {
        bits[offset / 64] |= 1 << (offset % 64);
    }
    bits
}

/// Whether a word that ends at this byte offset really ends there: `/ask` does in `/ask me`, `/ask, me` and `/ask天气`,
/// not in `/asking`. More generous than a boundary alone, which `michael's` has none of within it.
pub(super) fn word_is_over(text: &str, offset: usize) -> bool {
    let Some(next) = text[offset..].chars().next() else {
        return true;
    };
    let is_mark = CanonicalCombiningClassMap::new().get_u8(next) != 0;
    let goes_on = next.is_alphanumeric() || next == '_' || is_mark;
    !goes_on
        || text.split_word_bound_indices().take_while(|(start, _)| *start <= offset).any(|(start, _)| start == offset)
}
