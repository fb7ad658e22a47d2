//! People who are forgotten: batch by batch, until the receipt can go out. Whatever dies on the way, a sweep goes on.

use uuid::Uuid;

use crate::queue::{Topic, WakeQueue};
use crate::store::{ErasureStep, Store, StoreError};

/// Erasures that one sweep goes on with; the rest follows in the next.
const ERASURES_PER_SWEEP_MAX: i64 = 10;
/// Batches of one erasure that are erased at a stretch: two hundred thousand rows.
const STEPS_MAX: usize = 100;

/// Goes on with an erasure, and wakes the sender for its receipt.
pub(super) async fn go_on(store: &Store, queue: &dyn WakeQueue, receipt_id: Uuid) -> Result<(), StoreError> {
    for _ in 0..STEPS_MAX {
        match store.erase_step(receipt_id).await? {
            ErasureStep::More => {}
            ErasureStep::Done(told) => {
                queue.announce(Topic::Send, told.as_slice());
                break;
            }
        }
    }
    Ok(())
}

/// Goes on with what others have left.
pub(super) async fn sweep(store: &Store, queue: &dyn WakeQueue) -> Result<(), StoreError> {
    for receipt_id in store.open_erasures(ERASURES_PER_SWEEP_MAX).await? {
        go_on(store, queue, receipt_id).await?;
    }
    Ok(())
}
