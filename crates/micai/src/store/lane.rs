//! Shared commits: whoever writes on a hot path hands its item to a lane, and a train commits all that has gathered in its
//! lanes while the previous commit was in flight. Nothing waits for a batch to fill: an idle system answers at once, a
//! loaded one shares each flush. How lanes are put on trains, see [`Yard`]; where others wait for webhooks, see [`Express`].

mod express;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use self::express::{Express, Trip};
use super::db::{Db, Tx};
use super::error::StoreError;

/// How often a batch is tried that had to give way to another process's transaction.
const CONFLICT_TRIES_MAX: u32 = 4;
/// Commits in a row on the same connection; then whoever else waits for the one that SQLite has gets it in between.
const TRIPS_PER_CONNECTION_MAX: u32 = 64;

/// How long a train keeps its connection with nothing to do. SQLite has one for all writers, so it is not for long.
const CONNECTION_REST: Duration = Duration::from_millis(5);

/// Commits that a process may have under way on Postgres, however few processors it has: while one waits for the disk,
/// another can be worked on.
const COMMITS_AT_ONCE_MIN: usize = 2;

/// A handle to a lane. When all handles are gone, the lane's last items are committed and it ends.
pub(super) struct Lane<I, O> {
    jobs: mpsc::Sender<Job<I, O>>,
    waiting: Arc<Notify>,
}

struct Job<I, O> {
    item: I,
    answer: oneshot::Sender<Result<O, StoreError>>,
}

/// A verb over a slice of items, inside a transaction that somebody else begins and commits. One outcome an item, in
/// their order.
pub(super) trait Verb<I, O>: Send + Sync + 'static {
    fn run<'a>(&'a self, tx: &'a mut Tx, items: &'a [I]) -> BoxFuture<'a, Result<Vec<O>, StoreError>>;
    /// What the last run wrote is committed. After a run that failed or was not committed the next one begins.
    fn committed(&self) {}
    /// How many of a batch's places an item takes.
    fn weight(&self, _item: &I) -> usize {
        1
    }
}

/// How much a lane may hold.
#[derive(Clone, Copy)]
pub(super) struct LaneBounds {
    /// Items that may wait; one more is refused at once.
    pub waiting_items_max: usize,
    /// Weight of what one transaction takes.
    pub batch_weight_max: usize,
}

/// Where trains are put together. SQLite has one writer, and its flush is what costs: all lanes are one train. Postgres
/// flushes for several connections at once: each lane is a train of its own, and none waits for another.
pub(super) struct Yard {
    db: Db,
    trains: Vec<Train>,
    tracks: Option<Arc<Semaphore>>,
}

impl Yard {
    pub fn new(db: Db) -> Self {
        let tracks = match db {
            Db::Lite { .. } => None,
            // More at once than there are processors makes each of them slower, and the batches smaller.
            Db::Pg { .. } => Some(Arc::new(Semaphore::new(processors().max(COMMITS_AT_ONCE_MIN)))),
        };
        Self { db, trains: Vec::new(), tracks }
    }

    /// Adds a lane, see [`Train::lane`].
    pub fn lane<I, O>(&mut self, bounds: LaneBounds, verb: impl Verb<I, O>) -> Lane<I, O>
    where
        I: Send + Sync + 'static,
        O: Send + 'static,
    {
        let shares_train = matches!(self.db, Db::Lite { .. }) && !self.trains.is_empty();
        if !shares_train {
            self.trains.push(Train::new(self.db.clone(), self.tracks.clone()));
        }
        let last = self.trains.len() - 1;
        self.trains[last].lane(bounds, verb)
    }

    /// Lets the trains run, on a thread of their own: between two statements of a commit everybody waits for them, and among
    /// a thousand requests they would stand in line each time.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the system gives no thread.
    pub fn start(self) -> Result<(), StoreError> {
        let no_thread = |error: std::io::Error| StoreError::Unavailable(format!("no thread to write on: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(no_thread)?;
        let upkeep = match &self.db {
            Db::Lite { checkpoints, .. } => Some(checkpoints.clone()),
            Db::Pg { .. } => None,
        };
        let run = move || {
            runtime.block_on(async {
                let upkeep = upkeep.map(|checkpoints| tokio::spawn(checkpoints.run()));
                futures_util::future::join_all(self.trains.into_iter().map(|train| tokio::spawn(train.run()))).await;
                upkeep.inspect(tokio::task::JoinHandle::abort);
            });
        };
        std::thread::Builder::new().name("store".to_owned()).spawn(run).map_err(no_thread)?;
        Ok(())
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The lanes that share commits, before they run.
pub(super) struct Train {
    db: Db,
    cars: Vec<Box<dyn Car>>,
    waiting: Arc<Notify>,
    /// Shared with the other trains; none where there is one train.
    tracks: Option<Arc<Semaphore>>,
}

impl Train {
    pub fn new(db: Db, tracks: Option<Arc<Semaphore>>) -> Self {
        Self { db, cars: Vec::new(), waiting: Arc::new(Notify::new()), tracks }
    }

    /// Adds a lane. Within a transaction the lanes run in the order of adding; the first one goes ahead of the others when
    /// there is much to do.
    pub fn lane<I, O>(&mut self, bounds: LaneBounds, verb: impl Verb<I, O>) -> Lane<I, O>
    where
        I: Send + Sync + 'static,
        O: Send + 'static,
    {
        let (jobs, arriving) = mpsc::channel(bounds.waiting_items_max);
        self.cars.push(Box::new(LaneCar {
            verb,
            arriving,
            carried_over: None,
            batch_weight_max: bounds.batch_weight_max,
            weight: 0,
            items: Vec::new(),
            answers: Vec::new(),
            outcomes: Vec::new(),
        }));
        Lane { jobs, waiting: self.waiting.clone() }
    }

    /// Commits until every lane has ended.
    pub async fn run(mut self) {
        let mut express = Express::default();
        let mut line = Line { db: self.db.clone(), kept: None, trips: 0 };
        loop {
            let waiting = self.waiting.notified();
            self.cars.retain_mut(|car| car.load() != Load::Ended);
            if self.cars.is_empty() {
                return;
            }
            if self.cars.iter().all(|car| car.is_empty()) {
                if line.kept.is_none() {
                    waiting.await;
                } else if tokio::time::timeout(CONNECTION_REST, waiting).await.is_err() {
                    line.kept = None;
                }
                continue;
            }
            let _track = match &self.tracks {
                Some(tracks) => {
                    let track = tracks.acquire().await.ok();
                    // What came while the tracks were taken goes along.
                    self.cars.retain_mut(|car| car.load() != Load::Ended);
                    track
                }
                None => None,
            };
            let has_others = self.cars[1..].iter().any(|car| !car.is_empty());
            let coupled = match express.next(!self.cars[0].is_empty(), has_others, Instant::now()) {
                Trip::Express => 1,
                Trip::Together => self.cars.len(),
                Trip::Linger(left) => {
                    // Whatever it was that came, the next round looks for itself.
                    let _ = tokio::time::timeout(left, waiting).await;
                    continue;
                }
            };
            let departed = Instant::now();
            commit(&mut line, &mut self.cars[..coupled]).await;
            match coupled {
                1 => express.went_alone(departed.elapsed()),
                _ => express.went_together(departed.elapsed()),
            }
        }
    }
}

/// A train's way to the database. While there is work it keeps its connection: taking it out of the pool and putting it
/// back cost as much as a statement each.
struct Line {
    db: Db,
    kept: Option<Tx>,
    trips: u32,
}

impl Line {
    async fn open(&mut self) -> Result<Tx, StoreError> {
        self.trips += 1;
        if self.trips > TRIPS_PER_CONNECTION_MAX {
            self.trips = 0;
            self.kept = None;
        }
        match self.kept.take() {
            Some(tx) => Ok(tx),
            None => self.db.open().await,
        }
    }

    /// Commits what has run, or gives it up.
    async fn close<T>(&mut self, tx: Tx, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        match outcome {
            Ok(outcome) => {
                self.kept = Some(tx.commit_and_keep().await?);
                if let Db::Lite { checkpoints, .. } = &self.db {
                    checkpoints.note_commit();
                }
                Ok(outcome)
            }
            Err(error) => {
                tx.roll_back().await;
                Err(error)
            }
        }
    }
}

async fn commit(line: &mut Line, cars: &mut [Box<dyn Car>]) {
    let mut tries = Tries::default();
    let committed = loop {
        if let Some(outcome) = tries.last_word(commit_together(line, cars).await) {
            break outcome;
        }
    };
    match committed {
        Ok(()) => cars.iter_mut().for_each(|car| car.deliver(Ok(()))),
        Err(StoreError::Unavailable(reason)) => {
            let error = StoreError::Unavailable(reason);
            cars.iter_mut().for_each(|car| car.deliver(Err(error.clone())));
        }
        // Somebody's data is refused: each lane on its own, so that the others get through.
        Err(_) => {
            for car in cars {
                car.commit_alone(line).await;
            }
        }
    }
}

/// Counts the tries of a batch that had to give way to another process's transaction. The other one has committed by then,
/// so the same again, at once, is likely to succeed; in the end it counts as an outage.
#[derive(Default)]
struct Tries(u32);

impl Tries {
    /// The outcome if it stands; nothing if the batch is to be tried again.
    fn last_word<T>(&mut self, outcome: Result<T, StoreError>) -> Option<Result<T, StoreError>> {
        self.0 += 1;
        match outcome {
            Err(StoreError::Conflict(_)) if self.0 < CONFLICT_TRIES_MAX => None,
            Err(StoreError::Conflict(reason)) => Some(Err(StoreError::Unavailable(reason))),
            outcome => Some(outcome),
        }
    }
}

async fn commit_together(line: &mut Line, cars: &mut [Box<dyn Car>]) -> Result<(), StoreError> {
    let mut tx = line.open().await?;
    let ran = async {
        for car in cars.iter_mut().filter(|car| !car.is_empty()) {
            car.run(&mut tx).await?;
        }
        Ok(())
    };
    let ran = ran.await;
    line.close(tx, ran).await
}

#[derive(PartialEq, Eq)]
enum Load {
    Open,
    Ended,
}

/// A lane as the train sees it, whatever its items are.
trait Car: Send {
    /// Takes what waits, up to the bound.
    fn load(&mut self) -> Load;
    fn is_empty(&self) -> bool;
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, Result<(), StoreError>>;
    /// Hands out the outcomes of the run, or the error that befell all.
    fn deliver(&mut self, committed: Result<(), StoreError>);
    /// Commits the batch in transactions of its own and hands out the outcomes.
    fn commit_alone<'a>(&'a mut self, line: &'a mut Line) -> BoxFuture<'a, ()>;
}

struct LaneCar<I, O, V> {
    verb: V,
    arriving: mpsc::Receiver<Job<I, O>>,
    /// An item that did not fit into the last batch.
    carried_over: Option<Job<I, O>>,
    batch_weight_max: usize,
    /// Of the items; they may have been loaded over several trips that other lanes had to themselves.
    weight: usize,
    items: Vec<I>,
    answers: Vec<oneshot::Sender<Result<O, StoreError>>>,
    outcomes: Vec<O>,
}

impl<I: Send + Sync + 'static, O: Send + 'static, V: Verb<I, O>> Car for LaneCar<I, O, V> {
    fn load(&mut self) -> Load {
        loop {
            let job = match self.carried_over.take().map_or_else(|| self.arriving.try_recv(), Ok) {
                Ok(job) => job,
                Err(mpsc::error::TryRecvError::Disconnected) if self.items.is_empty() => return Load::Ended,
                Err(_) => return Load::Open,
            };
            let weight = self.verb.weight(&job.item);
            if self.weight + weight > self.batch_weight_max && !self.items.is_empty() {
                self.carried_over = Some(job);
                return Load::Open;
            }
            self.weight += weight;
            self.items.push(job.item);
            self.answers.push(job.answer);
        }
    }

    fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.outcomes = checked(self.verb.run(tx, &self.items).await?, self.items.len())?;
            Ok(())
        })
    }

    fn deliver(&mut self, committed: Result<(), StoreError>) {
        if committed.is_ok() && !self.is_empty() {
            self.verb.committed();
        }
        let outcomes = std::mem::take(&mut self.outcomes).into_iter().map(Ok);
        let answers = self.answers.drain(..);
        // A caller that is gone does not want its answer.
        match committed {
            Ok(()) => answers.zip(outcomes).for_each(|(answer, outcome)| drop(answer.send(outcome))),
            Err(error) => answers.for_each(|answer| drop(answer.send(Err(error.clone())))),
        }
        self.items.clear();
        self.weight = 0;
    }

    fn commit_alone<'a>(&'a mut self, line: &'a mut Line) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let outcomes = commit_or_halve(line, &self.verb, &self.items).await;
            for (answer, outcome) in self.answers.drain(..).zip(outcomes) {
                drop(answer.send(outcome));
            }
            self.items.clear();
            self.weight = 0;
            self.outcomes.clear();
        })
    }
}

/// Commits a batch. One that is refused because of its data is halved until the culprit stands alone, so that a bad
/// item never takes its neighbours with it.
fn commit_or_halve<'a, I, O, V>(
    line: &'a mut Line,
    verb: &'a V,
    items: &'a [I],
) -> BoxFuture<'a, Vec<Result<O, StoreError>>>
where
    I: Send + Sync + 'static,
    O: Send + 'static,
    V: Verb<I, O>,
{
    Box::pin(async move {
        if items.is_empty() {
            return Vec::new();
        }
        let mut tries = Tries::default();
        let committed = loop {
            if let Some(outcome) = tries.last_word(commit_slice(line, verb, items).await) {
                break outcome;
            }
        };
        match committed {
            Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
            Err(StoreError::Unavailable(reason)) => {
                items.iter().map(|_| Err(StoreError::Unavailable(reason.clone()))).collect()
            }
            Err(error) if items.len() == 1 => vec![Err(error)],
            Err(_) => {
                let (left, right) = items.split_at(items.len() / 2);
                let mut outcomes = commit_or_halve(line, verb, left).await;
                outcomes.extend(commit_or_halve(line, verb, right).await);
                outcomes
            }
        }
    })
}

async fn commit_slice<I, O>(line: &mut Line, verb: &impl Verb<I, O>, items: &[I]) -> Result<Vec<O>, StoreError> {
    let mut tx = line.open().await?;
    let ran = verb.run(&mut tx, items).await.and_then(|outcomes| checked(outcomes, items.len()));
    line.close(tx, ran).await.inspect(|_| verb.committed())
}

fn checked<O>(outcomes: Vec<O>, items: usize) -> Result<Vec<O>, StoreError> {
    match outcomes.len() == items {
        true => Ok(outcomes),
        false => Err(StoreError::Unreadable(format!("{} outcomes for {items} items", outcomes.len()))),
    }
}

impl<I, O> Lane<I, O> {
    /// Hands in an item and waits for its commit. The item is committed even when the caller stops waiting.
    pub async fn submit(&self, item: I) -> Result<O, StoreError> {
        let (answer, outcome) = oneshot::channel();
        self.jobs.try_send(Job { item, answer }).map_err(|refused| {
            StoreError::Unavailable(match refused {
                mpsc::error::TrySendError::Full(_) => "too many writes are waiting".to_owned(),
                mpsc::error::TrySendError::Closed(_) => "the writer has stopped".to_owned(),
            })
        })?;
        self.waiting.notify_one();
        outcome.await.map_err(|_| StoreError::Unavailable("the writer has stopped".to_owned()))?
    }
}

impl<I, O> Drop for Lane<I, O> {
    fn drop(&mut self) {
        // The train looks up and sees that the lane has ended.
        self.waiting.notify_one();
    }
}
