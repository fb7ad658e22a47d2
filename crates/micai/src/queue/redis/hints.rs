//! Hears from other processes which shards have something new. What is missed while nobody listens, the driver's poll
//! finds.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use rand::rngs::StdRng;
use redis::aio::PubSubStream;

use super::Shared;
use crate::redis_link::{Pauses, RedisServer, answers};

/// How often a silent subscription is asked whether it still lives.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// Listens until the queue closes.
pub(super) async fn listen(shared: Arc<Shared>, server: RedisServer, dice: StdRng) {
    let closing = shared.closing.clone();
    closing.run_until_cancelled(listen_on(&shared, &server, Pauses::new(dice))).await;
}

async fn listen_on(shared: &Shared, server: &RedisServer, mut pauses: Pauses) {
    let channel = shared.names.channel();
    loop {
        if let Ok((mut sink, mut wakes)) = server.subscribe(&channel).await {
            pauses.reset();
            // Whatever was said until now nobody heard.
            shared.lock().view.hint_all();
            shared.stirred.notify_one();
            loop {
                tokio::select! {
                    heard = hear(shared, &mut wakes) => match heard {
                        Some(()) => {}
                        None => break,
                    },
                    () = tokio::time::sleep(PING_INTERVAL) => match answers(&mut sink).await {
                        true => {}
                        false => break,
                    },
                }
            }
        }
        tokio::time::sleep(pauses.draw()).await;
    }
}

/// The next wake-up; none when the connection has ended.
async fn hear(shared: &Shared, wakes: &mut PubSubStream) -> Option<()> {
    let message = wakes.next().await?;
    let word = String::from_utf8_lossy(message.get_payload_bytes()).into_owned();
    if let Some((topic, shard)) = shared.names.shard_in(&word) {
        shared.lock().view.hint(topic, shard);
        shared.stirred.notify_one();
    }
    Some(())
}
