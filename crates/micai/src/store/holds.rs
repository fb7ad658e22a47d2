//! What was held until the window opens: it goes when a message that opens it has had its turn, so that a STOP is heard first,
//! or at once where no turn comes.

use jiff::Timestamp;

use super::db::Tx;
use super::script::{Kind, Question, Rows, Script};
use crate::ids::ConversationId;

/// Held messages of a conversation that go at once; the rest goes with the next message.
const HELD_ROWS_MAX: i64 = 1_000;

/// Lets the held messages of `conversations` go. `gate` is a condition on `opened.id`, empty for all. Answers with those in which
/// something was held.
pub(super) fn release_held(
    tx: &Tx,
    script: &mut Script<'_>,
    conversations: impl Iterator<Item = ConversationId>,
    now: Timestamp,
    gate: &str,
) -> Question {
    // The list of states is the partial index's own condition, word for word: SQLite uses the index only then.
    let held = "h.state IN ('queued', 'sending', 'unknown', 'held') AND h.state = 'held'";
    let found = match tx {
        // Postgres would rather walk through all that is held; a bound keeps it to one conversation at a time.
        Tx::Pg(..) => format!(
            "opened CROSS JOIN LATERAL (SELECT h.id FROM outbound_messages h
                 WHERE {held} AND h.conversation_id = opened.id ORDER BY h.id LIMIT {HELD_ROWS_MAX}) found
             WHERE outbound_messages.id = found.id"
        ),
        Tx::Lite(_) => format!(
            "opened WHERE outbound_messages.id IN (SELECT h.id FROM outbound_messages h
                 INDEXED BY outbound_messages_open
                 WHERE {held} AND h.conversation_id = opened.id ORDER BY h.id LIMIT {HELD_ROWS_MAX})"
        ),
    };
    let mut rows = Rows::new("opened", &[("id", Kind::Id), ("now", Kind::Instant)]);
    conversations.for_each(|id| rows.push([id.0.into(), now.into()]));
    let rows = script.batch(rows);
    script.ask(
        &[rows],
        format!(
            "UPDATE outbound_messages SET state = 'queued', not_before = NULL, needs_template = false,
                 tried_since = NULL, updated_at = opened.now FROM {found}
               AND outbound_messages.conversation_id = opened.id{gate}
             RETURNING outbound_messages.conversation_id AS id"
        ),
    )
}
