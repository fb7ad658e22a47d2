//! Takes keys out of the queue and hands each to a task, no more than so many at once.

use std::future::Future;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Topic, WakeQueue};
use crate::ids::ConversationId;

/// Keys waited for at once: so many can come in one answer of a queue that is behind a network.
const WAITING_MAX: usize = 64;

/// Serves the keys of a topic, `workers` at once, until `stop` is cancelled; what is under way is finished by `tasks`.
pub async fn dispatch<F>(
    queue: Arc<dyn WakeQueue>,
    topic: Topic,
    workers: usize,
    tasks: TaskTracker,
    stop: CancellationToken,
    serve: impl Fn(ConversationId) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(workers));
    let mut waiting = FuturesUnordered::new();
    loop {
        // One place waits for each free worker, so that no key is taken out that nobody can serve.
        let (permit, next) = tokio::select! {
            () = stop.cancelled() => return,
            Ok(permit) = permits.clone().acquire_owned(), if waiting.len() < WAITING_MAX => (permit, None),
            Some((permit, conversation)) = waiting.next() => (permit, Some(conversation)),
        };
        let Some(conversation) = next else {
            let queue = queue.clone();
            waiting.push(async move { (permit, queue.next(topic).await) });
            continue;
        };
        let out = Out { queue: queue.clone(), topic, conversation };
        let serving = serve(conversation);
        tasks.spawn(async move {
            serving.await;
            drop((out, permit));
        });
    }
}

/// A key that is out; handed back when it is dropped, also by a task that panics.
struct Out {
    queue: Arc<dyn WakeQueue>,
    topic: Topic,
    conversation: ConversationId,
}

impl Drop for Out {
    fn drop(&mut self) {
        self.queue.done(self.topic, self.conversation);
    }
}
