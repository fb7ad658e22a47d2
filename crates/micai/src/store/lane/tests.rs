//! Lanes on a real database: who fails alone, what gathers, which bounds hold.
#![allow(clippy::unwrap_used)]
use std::sync::Mutex;

use super::super::db::Location;
use super::*;

/// Doubles numbers; refuses batches that hold 13, and remembers the size of each batch that it was given.
struct Fussy {
    batches: Arc<Mutex<Vec<usize>>>,
    gate: Arc<tokio::sync::Semaphore>,
    running: Mutex<Vec<u32>>,
    committed: Arc<Mutex<Vec<u32>>>,
}

impl Fussy {
    fn behind(gate: Arc<tokio::sync::Semaphore>) -> Self {
        Self { batches: Arc::default(), gate, running: Mutex::default(), committed: Arc::default() }
    }
}

impl Verb<u32, u32> for Fussy {
    fn run<'a>(&'a self, _: &'a mut Tx, items: &'a [u32]) -> BoxFuture<'a, Result<Vec<u32>, StoreError>> {
        Box::pin(async move {
            self.batches.lock().unwrap().push(items.len());
            *self.running.lock().unwrap() = items.to_vec();
            self.gate.acquire().await.unwrap().forget();
            if items.contains(&13) {
                return Err(StoreError::Refused("thirteen".to_owned()));
            }
            Ok(items.iter().map(|item| item * 2).collect())
        })
    }

    fn committed(&self) {
        self.committed.lock().unwrap().extend(self.running.lock().unwrap().iter());
    }
}

struct Stage {
    _folder: tempfile::TempDir,
    fussy: Lane<u32, u32>,
    neighbour: Lane<u32, u32>,
    batches: Arc<Mutex<Vec<usize>>>,
    gate: Arc<tokio::sync::Semaphore>,
    committed: Arc<Mutex<Vec<u32>>>,
}

async fn stage(waiting_items_max: usize) -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::Sqlite { path: folder.path().join("lane.db"), readers_max: 1 };
    let mut train = Train::new(Db::connect(&location).await.unwrap(), None);
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let bounds = LaneBounds { waiting_items_max, batch_weight_max: 8 };
    let fussy = Fussy::behind(gate.clone());
    let (batches, committed) = (fussy.batches.clone(), fussy.committed.clone());
    let fussy = train.lane(bounds, fussy);
    let neighbour = train.lane(bounds, Fussy::behind(Arc::new(tokio::sync::Semaphore::new(1_000))));
    tokio::spawn(train.run());
    Stage { _folder: folder, fussy, neighbour, batches, gate, committed }
}

#[tokio::test]
async fn a_bad_item_fails_alone_and_its_neighbours_commit() {
    let stage = stage(64).await;
    stage.gate.add_permits(100);
    let numbers = [1, 2, 13, 4, 5, 6, 7];
    let submitted = futures_util::future::join_all(numbers.map(|item| stage.fussy.submit(item)));
    let (outcomes, beside) = tokio::join!(submitted, stage.neighbour.submit(21));
    for (item, outcome) in numbers.into_iter().zip(outcomes) {
        match item {
            13 => assert!(matches!(outcome, Err(StoreError::Refused(_)))),
            _ => assert_eq!(outcome.unwrap(), item * 2),
        }
    }
    assert_eq!(beside.unwrap(), 42, "the other lane gets through");
    assert!(stage.batches.lock().unwrap().len() > 2, "the batch was halved");
    let mut committed = stage.committed.lock().unwrap().clone();
    committed.sort_unstable();
    assert_eq!(committed, [1, 2, 4, 5, 6, 7], "each is told of once, when it is committed");
}

#[tokio::test]
async fn items_gather_while_a_commit_is_in_flight_and_the_bounds_hold() {
    let stage = Arc::new(stage(10).await);
    let first = tokio::spawn({
        let stage = stage.clone();
        async move { stage.fussy.submit(1).await }
    });
    // The first item is in its commit, which waits at the gate.
    while stage.batches.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let mut waiting: Vec<_> = (0..20).map(|item| Box::pin(stage.fussy.submit(100 + item))).collect();
    let mut refused = 0;
    for submit in &mut waiting {
        if let Some(Err(error)) = futures_util::FutureExt::now_or_never(submit) {
            assert!(error.is_transient());
            refused += 1;
        }
    }
    assert_eq!(refused, 10, "no more than ten may wait");
    stage.gate.add_permits(100);
    assert_eq!(first.await.unwrap().unwrap(), 2);
    while stage.batches.lock().unwrap().iter().sum::<usize>() < 11 {
        tokio::task::yield_now().await;
    }
    assert_eq!(*stage.batches.lock().unwrap(), [1, 8, 2], "what gathered shares commits of at most eight");
}
