//! Takes keys out of the queue and hands each to a task, no more than so many at once.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Topic, WakeQueue};
use crate::ids::ConversationId;

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
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        let conversation = tokio::select! {
            () = stop.cancelled() => return,
            conversation = queue.next(topic) => conversation,
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
