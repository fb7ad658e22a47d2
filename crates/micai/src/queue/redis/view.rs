//! What a process knows of the shards: how they stood when they last answered, which of them may have something, and
//! whom to ask for how much.

use std::collections::HashMap;

use super::scripts::Answer;
use crate::queue::{QueueDepth, Topic};

/// All shards of both topics.
pub(super) struct View {
    shards: HashMap<Topic, Vec<Shard>>,
}

#[derive(Default, Clone)]
struct Shard {
    last: Answer,
    /// Somebody said that there is something new, after the last question was sent.
    is_hinted: bool,
}

impl View {
    pub fn new(shards: usize) -> Self {
        Self { shards: Topic::ALL.into_iter().map(|topic| (topic, vec![Shard::default(); shards])).collect() }
    }

    fn of(&self, topic: Topic) -> &[Shard] {
        self.shards.get(&topic).map_or(&[], Vec::as_slice)
    }

    fn shard(&mut self, topic: Topic, shard: usize) -> Option<&mut Shard> {
        self.shards.get_mut(&topic)?.get_mut(shard)
    }

    /// There may be something new.
    pub fn hint(&mut self, topic: Topic, shard: usize) {
        if let Some(shard) = self.shard(topic, shard) {
            shard.is_hinted = true;
        }
    }

    /// There may be something new anywhere.
    pub fn hint_all(&mut self) {
        self.shards.values_mut().flatten().for_each(|shard| shard.is_hinted = true);
    }

    /// A question is on its way: hints that come from here on are newer than its answer.
    pub fn asked(&mut self, topic: Topic, shard: usize) {
        if let Some(shard) = self.shard(topic, shard) {
            shard.is_hinted = false;
        }
    }

    pub fn answered(&mut self, topic: Topic, shard: usize, answer: Answer) {
        if let Some(shard) = self.shard(topic, shard) {
            shard.last = Answer { taken: Vec::new(), ..answer };
        }
    }

    /// Whom to ask for keys, and for how many each, so that `wanted` come together and none too many. Those whose oldest
    /// key is older come first. `posted` says since when a shard has what is about to be posted.
    pub fn allot(&self, topic: Topic, wanted: usize, now: i64, posted: &HashMap<usize, i64>) -> Vec<(usize, usize)> {
        let mut candidates: Vec<(i64, usize)> = self
            .of(topic)
            .iter()
            .enumerate()
            .filter_map(|(number, shard)| {
                let known = [shard.last.oldest_since, posted.get(&number).copied(), shard.due_by(now)];
                // Of a mere hint nothing is known: it may be older than anything else.
                let since = known.into_iter().flatten().min().or(shard.is_hinted.then_some(i64::MIN))?;
                Some((since, number))
            })
            .collect();
        candidates.sort_unstable();
        let mut left = wanted;
        let mut allotted = Vec::new();
        for (index, (_, shard)) in candidates.iter().enumerate() {
            let share = left.div_ceil(candidates.len() - index);
            if share == 0 {
                break;
            }
            allotted.push((*shard, share));
            left -= share;
        }
        allotted
    }

    /// Shards in which a date has come or a lease has ended.
    pub fn due(&self, topic: Topic, now: i64) -> impl Iterator<Item = usize> {
        self.of(topic)
            .iter()
            .enumerate()
            .filter(move |(_, shard)| shard.due_by(now).is_some())
            .map(|(number, _)| number)
    }

    /// When the next date comes or the next lease ends.
    pub fn next_due(&self) -> Option<i64> {
        self.shards.values().flatten().filter_map(Shard::next_due).min()
    }

    pub fn depth(&self, topic: Topic) -> QueueDepth {
        self.of(topic).iter().fold(QueueDepth::default(), |sum, Shard { last, .. }| QueueDepth {
            ready: sum.ready + last.ready,
            delayed: sum.delayed + last.delayed,
            out: sum.out + last.out,
        })
    }

    pub fn oldest_since(&self, topic: Topic) -> Option<i64> {
        self.of(topic).iter().filter_map(|shard| shard.last.oldest_since).min()
    }
}

impl Shard {
    fn next_due(&self) -> Option<i64> {
        self.last.first_due.into_iter().chain(self.last.first_lease_end).min()
    }

    fn due_by(&self, now: i64) -> Option<i64> {
        self.next_due().filter(|due| *due <= now)
    }
}
