//! Shared commits: whoever writes on a hot path hands its item to a lane, which commits all that has gathered while the
//! previous commit was in flight. No timer: an idle system answers at once, a loaded one shares each flush.

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::error::StoreError;

/// A handle to a lane; the lane ends when the last handle is gone.
pub(super) struct Lane<I, O> {
    jobs: mpsc::Sender<Job<I, O>>,
}

struct Job<I, O> {
    item: I,
    answer: oneshot::Sender<Result<O, StoreError>>,
}

/// Commits a slice of items in one transaction and answers one outcome an item, in their order.
pub(super) trait Commit<I, O>: Send + 'static {
    fn commit<'a>(&'a self, items: &'a [I]) -> BoxFuture<'a, Result<Vec<O>, StoreError>>;
    /// How many of a batch's places an item takes.
    fn weight(&self, item: &I) -> usize;
}

/// How much a lane may hold.
#[derive(Clone, Copy)]
pub(super) struct LaneBounds {
    /// Items that may wait; one more is refused at once.
    pub waiting_items_max: usize,
    /// Weight of one transaction.
    pub batch_weight_max: usize,
}

impl<I: Send + Sync + 'static, O: Send + 'static> Lane<I, O> {
    /// Starts the lane's task.
    pub fn start(bounds: LaneBounds, verb: impl Commit<I, O> + Sync) -> Self {
        let (jobs, waiting) = mpsc::channel(bounds.waiting_items_max);
        tokio::spawn(run(waiting, bounds.batch_weight_max, verb));
        Self { jobs }
    }

    /// Hands in an item and waits for its commit. The item is committed even when the caller stops waiting.
    pub async fn submit(&self, item: I) -> Result<O, StoreError> {
        let (answer, outcome) = oneshot::channel();
        self.jobs.try_send(Job { item, answer }).map_err(|refused| {
            StoreError::Unavailable(match refused {
                mpsc::error::TrySendError::Full(_) => "too many writes are waiting".to_owned(),
                mpsc::error::TrySendError::Closed(_) => "the writer has stopped".to_owned(),
            })
        })?;
        outcome.await.map_err(|_| StoreError::Unavailable("the writer has stopped".to_owned()))?
    }
}

async fn run<I: Send + Sync, O: Send>(
    mut waiting: mpsc::Receiver<Job<I, O>>,
    batch_weight_max: usize,
    verb: impl Commit<I, O> + Sync,
) {
    let mut carried_over = None;
    loop {
        let first = match carried_over.take() {
            Some(job) => job,
            None => match waiting.recv().await {
                Some(job) => job,
                None => return,
            },
        };
        let mut weight = verb.weight(&first.item);
        let (mut items, mut answers) = (vec![first.item], vec![first.answer]);
        while let Ok(job) = waiting.try_recv() {
            weight += verb.weight(&job.item);
            if weight > batch_weight_max {
                carried_over = Some(job);
                break;
            }
            items.push(job.item);
            answers.push(job.answer);
        }
        let outcomes = commit_or_halve(&verb, &items).await;
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            // A caller that is gone does not want its answer.
            let _ = answer.send(outcome);
        }
    }
}

/// Commits a batch. One that is refused because of its data is halved until the culprit stands alone, so that a bad
/// item never takes its neighbours with it.
fn commit_or_halve<'a, I: Send + Sync, O: Send>(
    verb: &'a (impl Commit<I, O> + Sync),
    items: &'a [I],
) -> BoxFuture<'a, Vec<Result<O, StoreError>>> {
    Box::pin(async move {
        match verb.commit(items).await {
            Ok(outcomes) if outcomes.len() == items.len() => outcomes.into_iter().map(Ok).collect(),
            Ok(outcomes) => {
                let error = StoreError::Unreadable(format!("{} outcomes for {} items", outcomes.len(), items.len()));
                items.iter().map(|_| Err(error.clone())).collect()
            }
            Err(error) if error.is_transient() || items.len() == 1 => {
                items.iter().map(|_| Err(error.clone())).collect()
            }
            Err(_) => {
                let (left, right) = items.split_at(items.len() / 2);
                let mut outcomes = commit_or_halve(verb, left).await;
                outcomes.extend(commit_or_halve(verb, right).await);
                outcomes
            }
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Refuses odd batches that hold 13; remembers the size of each batch it was given.
    struct Fussy {
        batches: Arc<Mutex<Vec<usize>>>,
        gate: Arc<tokio::sync::Semaphore>,
    }

    impl Commit<u32, u32> for Fussy {
        fn commit<'a>(&'a self, items: &'a [u32]) -> BoxFuture<'a, Result<Vec<u32>, StoreError>> {
            Box::pin(async move {
                self.gate.acquire().await.unwrap().forget();
                self.batches.lock().unwrap().push(items.len());
                if items.contains(&13) {
                    return Err(StoreError::Refused("thirteen".to_owned()));
                }
                Ok(items.iter().map(|item| item * 2).collect())
            })
        }

        fn weight(&self, _: &u32) -> usize {
            1
        }
    }

    fn lane(waiting_items_max: usize) -> (Lane<u32, u32>, Arc<Mutex<Vec<usize>>>, Arc<tokio::sync::Semaphore>) {
        let batches = Arc::new(Mutex::new(Vec::new()));
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let bounds = LaneBounds { waiting_items_max, batch_weight_max: 8 };
        (Lane::start(bounds, Fussy { batches: batches.clone(), gate: gate.clone() }), batches, gate)
    }

    #[tokio::test]
    async fn a_bad_item_fails_alone_and_its_neighbours_commit() {
        let (lane, batches, gate) = lane(64);
        let submitted: Vec<_> = [1, 2, 13, 4, 5, 6, 7].into_iter().map(|item| lane.submit(item)).collect();
        gate.add_permits(100);
        let outcomes = futures_util::future::join_all(submitted).await;
        for (item, outcome) in [1, 2, 13, 4, 5, 6, 7].into_iter().zip(outcomes) {
            match item {
                13 => assert!(matches!(outcome, Err(StoreError::Refused(_)))),
                _ => assert_eq!(outcome.unwrap(), item * 2),
            }
        }
        assert!(batches.lock().unwrap().len() > 1, "the batch was halved");
    }

    #[tokio::test]
    async fn items_gather_while_a_commit_is_in_flight_and_the_bounds_hold() {
        let (lane, batches, gate) = lane(10);
        let lane = Arc::new(lane);
        let first = tokio::spawn({
            let lane = lane.clone();
            async move { lane.submit(1).await }
        });
        // Let the lane take the first item and wait inside its commit.
        while lane.jobs.capacity() < 10 || batches.lock().unwrap().is_empty() && gate.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
        let mut waiting: Vec<_> = (0..20).map(|item| Box::pin(lane.submit(100 + item))).collect();
        let mut refused = 0;
        for submit in &mut waiting {
            if let Some(Err(error)) = futures_util::FutureExt::now_or_never(submit) {
                assert!(error.is_transient());
                refused += 1;
            }
        }
        assert_eq!(refused, 10, "no more than ten may wait");
        gate.add_permits(100);
        assert_eq!(first.await.unwrap().unwrap(), 2);
        while batches.lock().unwrap().iter().sum::<usize>() < 11 {
            tokio::task::yield_now().await;
        }
        assert_eq!(*batches.lock().unwrap(), [1, 8, 2], "what gathered shares commits of at most eight");
    }
}
