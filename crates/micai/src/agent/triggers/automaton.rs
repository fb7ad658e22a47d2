//! An Aho-Corasick automaton that reports, at each place of a text, the longest pattern that ends there.
//!
//! Its memory is linear in the patterns, and it takes amortised constant time a byte. The `aho-corasick` crate serves
//! neither promise here: it copies into each state every pattern that ends there, so keywords within keywords
//! (`a`, `aa`, `aaa` …) grow with the square of their length in memory and again in matches to look at. Here a state
//! knows only its longest pattern, and a pattern the next shorter one that ends it; whoever asks can keep per pattern
//! what holds for the whole chain.

/// An index into the sorted patterns that the automaton was built from.
pub(super) type PatternIndex = u32;

/// Stands for "no pattern".
pub(super) const NO_PATTERN: PatternIndex = u32::MAX;

const ROOT: u32 = 0;
/// Above this many children, look one up by halving.
const CHILDREN_SCANNED_MAX: usize = 12;

/// The compiled patterns.
#[derive(Debug)]
pub(super) struct Automaton {
    /// Breadth first, so that the children of a state are neighbours and end where those of the next state begin.
    /// One more state at the end only closes the last range.
    states: Vec<State>,
    /// The byte that leads to each state from its parent.
    labels: Vec<u8>,
    /// The child of the root for every byte, or the root itself.
    root_children: Box<[u32]>,
    patterns: Vec<Pattern>,
}

#[derive(Debug)]
struct State {
    first_child: u32,
    /// The state of the longest proper suffix that is also a beginning of some pattern.
    fall_back: u32,
    /// The longest pattern that ends here.
    longest: PatternIndex,
}

#[derive(Debug)]
struct Pattern {
    bytes: u32,
    /// The longest other pattern that ends this one.
    shorter: PatternIndex,
}

impl Automaton {
    /// Compiles patterns that are sorted bytewise, distinct and not empty. The caller bounds their bytes below 2³².
    pub(super) fn build(patterns: &[&str]) -> Self {
        let mut automaton = Self {
            states: vec![State { first_child: 0, fall_back: ROOT, longest: NO_PATTERN }],
            labels: vec![0],
            root_children: vec![ROOT; 256].into(),
            patterns: patterns.iter().map(|text| Pattern { bytes: text.len() as u32, shorter: NO_PATTERN }).collect(),
        };
        // For each state, the patterns that begin with its path, as a range, and the path's length.
        let mut begun = vec![(0..patterns.len(), 0_usize)];
        let mut state = 0;
        while state < begun.len() {
            let (mut range, depth) = begun[state].clone();
            automaton.states[state].first_child = automaton.states.len() as u32;
            let fall_back = automaton.states[state].fall_back;
            let mut longest = automaton.states[fall_back as usize].longest;
            if range.start < range.end && patterns[range.start].len() == depth {
                automaton.patterns[range.start].shorter = longest;
                longest = range.start as PatternIndex;
                range.start += 1;
            }
            automaton.states[state].longest = longest;
            while range.start < range.end {
                let label = patterns[range.start].as_bytes()[depth];
                let same = patterns[range.clone()].partition_point(|text| text.as_bytes()[depth] <= label);
                automaton.add_child(state as u32, label);
                begun.push((range.start..range.start + same, depth + 1));
                range.start += same;
            }
            state += 1;
        }
        let end = automaton.states.len() as u32;
        automaton.states.push(State { first_child: end, fall_back: ROOT, longest: NO_PATTERN });
        automaton.states.shrink_to_fit();
        automaton.labels.shrink_to_fit();
        automaton
    }

    /// Falling back from the parent reaches only states whose children are complete: they lie on higher levels.
    fn add_child(&mut self, parent: u32, label: u8) {
        let child = self.states.len() as u32;
        let fall_back = match parent {
            ROOT => ROOT,
            _ => self.next(self.states[parent as usize].fall_back, label),
        };
        self.states.push(State { first_child: 0, fall_back, longest: NO_PATTERN });
        self.labels.push(label);
        if parent == ROOT {
            self.root_children[usize::from(label)] = child;
        }
    }

    /// The places of the text where a pattern ends, in order, each with the longest such pattern.
    pub(super) fn ends<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (usize, PatternIndex)> + 'a {
        let mut state = ROOT;
        text.bytes().enumerate().filter_map(move |(offset, byte)| {
            state = self.next(state, byte);
            let longest = self.states[state as usize].longest;
            (longest != NO_PATTERN).then_some((offset + 1, longest))
        })
    }

    /// The pattern and every shorter one that ends it, longest first.
    pub(super) fn chain(&self, pattern: PatternIndex) -> impl Iterator<Item = PatternIndex> + '_ {
        let known = |pattern: PatternIndex| (pattern != NO_PATTERN).then_some(pattern);
        std::iter::successors(known(pattern), move |&pattern| known(self.shorter(pattern)))
    }

    /// The next shorter pattern that ends this one, or [`NO_PATTERN`].
    pub(super) fn shorter(&self, pattern: PatternIndex) -> PatternIndex {
        self.patterns[pattern as usize].shorter
    }

    /// The length of a pattern in bytes.
    pub(super) fn bytes(&self, pattern: PatternIndex) -> usize {
        self.patterns[pattern as usize].bytes as usize
    }

    #[inline]
    fn next(&self, mut state: u32, byte: u8) -> u32 {
        while state != ROOT {
            let here = &self.states[state as usize];
            let (first, end) = (here.first_child as usize, self.states[state as usize + 1].first_child as usize);
            if let Some(place) = find(&self.labels[first..end], byte) {
                return (first + place) as u32;
            }
            state = here.fall_back;
        }
        self.root_children[usize::from(byte)]
    }
}

/// Where the byte stands among sorted labels.
#[inline]
fn find(labels: &[u8], byte: u8) -> Option<usize> {
    if labels.len() <= CHILDREN_SCANNED_MAX {
        labels.iter().position(|&label| label == byte)
    } else {
        labels.binary_search(&byte).ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    #[test]
    fn reports_the_longest_pattern_at_each_end_and_the_shorter_ones_behind_it() {
        let patterns = ["a", "aa", "ba", "he", "hers", "his", "she"];
        let automaton = Automaton::build(&patterns);
        let ends = |text: &str| -> Vec<(usize, Vec<&str>)> {
            automaton
                .ends(text)
                .map(|(end, longest)| (end, automaton.chain(longest).map(|at| patterns[at as usize]).collect()))
                .collect()
        };
        assert_eq!(ends("ushers"), [(4, vec!["she", "he"]), (6, vec!["hers"])]);
        assert_eq!(ends("baa"), [(2, vec!["ba", "a"]), (3, vec!["aa", "a"])]);
        assert_eq!(ends("xyz"), []);
    }

    #[test]
    fn without_patterns_nothing_is_found() {
        assert_eq!(Automaton::build(&[]).ends("anything").count(), 0);
    }

    #[test]
    fn nested_patterns_take_memory_in_proportion_to_their_bytes() {
        let nested: Vec<String> = (0..100)
            .flat_map(|tag: u8| (1..200).map(move |length| format!("{}{}", char::from(tag), "a".repeat(length))))
            .collect();
        let mut patterns: Vec<&str> = nested.iter().map(String::as_str).collect();
        patterns.sort_unstable();
        patterns.dedup();
        let automaton = Automaton::build(&patterns);
        assert!(automaton.states.len() <= 100 * 200 + 2, "{} states", automaton.states.len());
    }

    proptest! {
        #[test]
        fn finds_what_comparing_at_every_place_finds(
            patterns in btree_set("[abé]{1,5}|[a-z]{1,2}", 0..60),
            words in vec("[abé]{0,6}|[a-z]{0,3}", 0..8),
        ) {
            let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
            let text = words.concat();
            let automaton = Automaton::build(&patterns);
            let mut found = Vec::new();
            for (end, longest) in automaton.ends(&text) {
                found.extend(automaton.chain(longest).map(|at| (end, patterns[at as usize])));
            }
            let mut expected = Vec::new();
            for end in (1..=text.len()).filter(|&end| text.is_char_boundary(end)) {
                let mut here: Vec<&str> = patterns.iter().copied().filter(|it| text[..end].ends_with(it)).collect();
                here.sort_by_key(|it| std::cmp::Reverse(it.len()));
                expected.extend(here.into_iter().map(|it| (end, it)));
            }
            prop_assert_eq!(found, expected);
        }
    }
}
