//! What failed statuses stop: a message that WhatsApp had taken and then failed tells of a block just as a refusal does. Rare, so
//! in as many steps as it takes.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use sqlx::types::Json;
use uuid::Uuid;

use super::db::{Tx, row};
use super::error::StoreError;
use super::pauses;
use super::script::{Kind, Rows, Script};
use super::statuses::Located;
use crate::domain::inbound::AfterFailure;
use crate::domain::outbound::DeliveryStatus;
use crate::domain::pause::{Pause, PauseCause, PauseKey, PauseScope};
use crate::ids::{ConversationId, Ids, OutboundId};

/// What the statuses of a batch stop.
#[derive(Debug, Default)]
pub(super) struct Stops {
    /// By the status.
    keys: HashMap<Uuid, PauseKey>,
    /// To be set: what is told for the first time.
    pauses: BTreeMap<PauseKey, Pause>,
}

row! { struct KnownRow { id: Uuid, body: Option<Json<serde_json::Value>>, is_known: bool } }

impl Stops {
    /// Reads what the statuses stop. A status that came before stops nothing again: a person may have resumed meanwhile.
    pub async fn find(tx: &mut Tx, located: &[Located<'_>], now: Timestamp) -> Result<Self, StoreError> {
        let mut stops = Self::default();
        let failed = located.iter().filter(|one| one.status.status == DeliveryStatus::Failed);
        let stopping: Vec<_> = failed
            .filter_map(|one| match &one.status.after {
                AfterFailure::Stop { scope, subject, .. } => Some((one, *scope, subject)),
                _ => None,
            })
            .collect();
        if stopping.is_empty() {
            return Ok(stops);
        }
        tx.together().await?;
        let known = known_rows(tx, stopping.iter().map(|(one, ..)| *one)).await?;
        for (one, scope, subject) in stopping {
            let Some(row) = known.get(&one.id) else { continue };
            let key = match scope {
                PauseScope::Template => row.body.as_ref().and_then(|body| template_key(&body.0)),
                scope => Some(PauseKey::new(scope, subject)),
            };
            let (Some(key), Some(error)) = (key, &one.status.error) else { continue };
            if !row.is_known {
                let pause = Pause {
                    key: key.clone(),
                    cause: PauseCause::Refusal,
                    code: error.code,
                    sentence: error.detail.clone(),
                    since: now,
                    until: None,
                };
                stops.pauses.insert(key.clone(), pause);
            }
            stops.keys.insert(one.id, key);
        }
        Ok(stops)
    }

    /// What a status stops.
    pub fn of(&self, status: Uuid) -> Option<&PauseKey> {
        self.keys.get(&status)
    }

    /// Sets the pauses, and notes which messages wait for their end: those of `held` that the statuses have moved.
    pub async fn write(
        &self,
        tx: &mut Tx,
        ids: &Ids,
        held: &[((ConversationId, OutboundId), &PauseKey, Timestamp)],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        for pause in self.pauses.values() {
            // Without room for it, what is held is let go and refused again.
            pauses::write(tx, ids, pause, now).await?;
        }
        const COLUMNS: &[(&str, Kind)] = &[
            ("scope", Kind::Text),
            ("subject", Kind::Text),
            ("outbound_id", Kind::Id),
            ("conversation_id", Kind::Id),
            ("again_at", Kind::Instant),
        ];
        let mut rows = Rows::new("new_holds", COLUMNS);
        for ((conversation, outbound), key, again_at) in held {
            rows.push([
                key.scope.as_str().into(),
                (&key.subject).into(),
                outbound.0.into(),
                conversation.0.into(),
                (*again_at).into(),
            ]);
        }
        let mut script = Script::default();
        let rows = script.batch(rows);
        script.step(
            &[rows],
            "INSERT INTO pause_holds (scope, subject, outbound_id, conversation_id)
             SELECT n.scope, n.subject, n.outbound_id, n.conversation_id FROM new_holds n CROSS JOIN outbound_messages o
             WHERE o.conversation_id = n.conversation_id AND o.id = n.outbound_id AND coalesce(o.state, '') = 'held'
               AND o.replayed_at = n.again_at
             ON CONFLICT (scope, subject, outbound_id) DO NOTHING",
        );
        script.run(tx).await.map(drop)
    }
}

async fn known_rows<'a>(
    tx: &mut Tx,
    statuses: impl Iterator<Item = &'a Located<'a>>,
) -> Result<HashMap<Uuid, KnownRow>, StoreError> {
    const COLUMNS: &[(&str, Kind)] = &[
        ("id", Kind::Id),
        ("provider_message_id", Kind::Text),
        ("conversation_id", Kind::Id),
        ("outbound_id", Kind::Id),
    ];
    let mut rows = Rows::new("wanted", COLUMNS);
    for one in statuses {
        rows.push([
            one.id.into(),
            (&one.status.provider_message_id).into(),
            one.row.map(|(conversation, _)| conversation.0).into(),
            one.row.map(|(_, outbound)| outbound.0).into(),
        ]);
    }
    let rows: Vec<KnownRow> = rows
        .fetch(
            tx,
            "SELECT w.id, o.body,
                    (SELECT 1 FROM delivery_events e
                     WHERE e.provider_message_id = w.provider_message_id AND e.status = 'failed' LIMIT 1)
                        IS NOT NULL AS is_known
             FROM wanted w
             LEFT JOIN outbound_messages o ON o.conversation_id = w.conversation_id AND o.id = w.outbound_id",
        )
        .await?;
    Ok(rows.into_iter().map(|row| (row.id, row)).collect())
}

/// The template that a message is.
fn template_key(body: &serde_json::Value) -> Option<PauseKey> {
    let template = body.get("template")?;
    Some(PauseKey::template(template.get("name")?.as_str()?, template.get("language")?.as_str()?))
}
