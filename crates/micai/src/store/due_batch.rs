//! What a batch of schedules that are due comes to: messages, questions to agents, and when each is due next.

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::db::Tx;
use super::due::{Addresses, DueRow, Fired, PlaceRow, reachable_at};
use super::error::StoreError;
use super::script::{Cell, Kind, Rows, Script};
use crate::domain::contact::Address;
use crate::domain::inbound::{InboundState, MessageNature};
use crate::domain::outbound::{MessageBody, SendError, SendState};
use crate::domain::schedule::{
    Firing, MissedPolicy, Schedule, ScheduleAction, ScheduleOutcome, ScheduleState, schedule_key,
};
use crate::ids::{ConversationId, Ids};

/// Messages of one batch: what schedules make up for may be several each. Keeps statements below SQLite's 32,766 parameters.
const BATCH_MESSAGES_MAX: usize = 1_000;

/// What a batch writes. The rows own their texts, since they are made here.
pub(super) struct Batch {
    fired: Fired,
    messages: usize,
    sends: Vec<NewSend>,
    questions: Vec<NewQuestion>,
    moves: Vec<Move>,
    /// What is said in place of these, if they still wait for the window.
    replaced: Vec<(ConversationId, Uuid, Timestamp)>,
}

struct NewSend {
    conversation_id: ConversationId,
    id: Uuid,
    key: String,
    agent_id: String,
    phone_number_id: String,
    to: Address,
    body: MessageBody,
    template: Option<String>,
    now: Timestamp,
}

struct NewQuestion {
    conversation_id: ConversationId,
    id: Uuid,
    phone_number_id: String,
    key: String,
    text: String,
    payload: String,
    to: Address,
    now: Timestamp,
}

struct Move {
    id: Uuid,
    state: ScheduleState,
    next_due_at: Option<Timestamp>,
    next_run_at: Option<Timestamp>,
    last_due_at: Timestamp,
    outcome: String,
    fired: i64,
    now: Timestamp,
}

impl Batch {
    pub fn new() -> Self {
        Self {
            fired: Fired::default(),
            messages: 0,
            sends: Vec::new(),
            questions: Vec::new(),
            moves: Vec::new(),
            replaced: Vec::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.fired.schedules == 0
    }

    /// Whether it takes no more.
    pub fn is_full(&self) -> bool {
        self.messages >= BATCH_MESSAGES_MAX
    }

    pub fn add(
        &mut self,
        ids: &Ids,
        row: DueRow,
        addresses: &Addresses,
        decide: impl Fn(&Schedule, Timestamp, Timestamp) -> Firing,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let DueRow { id, schedule, place } = row;
        self.fired.schedules += 1;
        let schedule = match schedule {
            Ok(schedule) => schedule,
            Err(detail) => return self.put_aside(id, &detail, now),
        };
        let due_at = schedule.next_due_at.unwrap_or(now);
        let firing = decide(&schedule, due_at, now);
        let outcome = match (&firing.skipped, way(place.as_ref(), &schedule, addresses)) {
            (Some((reason, sentence)), _) => ScheduleOutcome::skipped(reason, sentence),
            (None, Err(obstacle)) => obstacle,
            (None, Ok((conversation_id, to))) => {
                self.replace_last(&schedule, now);
                let mut said = Uuid::nil();
                for at in &firing.occurrences {
                    said = self.say(ids, &schedule, conversation_id, &to, schedule_key(schedule.id, *at), now)?;
                }
                ScheduleOutcome::of(&schedule.action, conversation_id, said, firing.left_out)
            }
        };
        let happened = i64::try_from(firing.occurrences.len()).unwrap_or(i64::MAX);
        self.moves.push(Move {
            id: schedule.id.0,
            state: if firing.next_due_at.is_some() { ScheduleState::Active } else { ScheduleState::Finished },
            next_due_at: firing.next_due_at,
            next_run_at: firing.next_due_at.map(|at| Schedule::run_at(schedule.id, &schedule.timing, at)),
            last_due_at: firing.occurrences.last().copied().unwrap_or(due_at),
            outcome: json_text(&outcome)?,
            fired: schedule.fired.saturating_add(happened),
            now,
        });
        Ok(())
    }

    /// Says at once what a schedule says, under a key of its own. `None` for one that cannot be read.
    pub fn run(
        &mut self,
        ids: &Ids,
        row: DueRow,
        addresses: &Addresses,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<ScheduleOutcome>, StoreError> {
        let Ok(schedule) = row.schedule else { return Ok(None) };
        Ok(Some(match way(row.place.as_ref(), &schedule, addresses) {
            Err(obstacle) => obstacle,
            Ok((conversation_id, to)) => {
                let said = self.say(ids, &schedule, conversation_id, &to, key.to_owned(), now)?;
                ScheduleOutcome::of(&schedule.action, conversation_id, said, 0)
            }
        }))
    }

    /// One that this program cannot read stands in nobody's way: it waits until somebody has seen to it.
    fn put_aside(&mut self, id: Uuid, detail: &str, now: Timestamp) -> Result<(), StoreError> {
        tracing::error!(schedule = %id, detail, "a schedule cannot be read; it is paused");
        let sentence = format!("The row cannot be read: {detail}. Save it anew, or delete it.");
        self.moves.push(Move {
            id,
            state: ScheduleState::Paused,
            next_due_at: None,
            next_run_at: None,
            last_due_at: now,
            outcome: json_text(&ScheduleOutcome::skipped("unreadable", &sentence))?,
            fired: 0,
            now,
        });
        Ok(())
    }

    /// What comes again and again and still waits for the window gives way to what comes now: whoever writes after days gets the
    /// latest, not all of it. Unless each of them counts.
    fn replace_last(&mut self, schedule: &Schedule, now: Timestamp) {
        let each_counts = matches!(schedule.timing.missed, MissedPolicy::All { .. });
        if let (false, Some(ScheduleOutcome::Queued { conversation_id, outbound_id, .. })) =
            (each_counts, &schedule.last_outcome)
        {
            self.replaced.push((*conversation_id, *outbound_id, now));
        }
    }

    /// Gives the id of the message, or of the question.
    fn say(
        &mut self,
        ids: &Ids,
        schedule: &Schedule,
        conversation_id: ConversationId,
        to: &Address,
        key: String,
        now: Timestamp,
    ) -> Result<Uuid, StoreError> {
        let id = ids.uuid(now);
        let phone_number_id = schedule.phone_number_id.clone();
        self.messages += 1;
        let (body, template) = match &schedule.action {
            ScheduleAction::Text { text, template } => {
                let template = template.as_deref().map(json_text).transpose()?;
                (MessageBody::Text { text: text.clone() }, template)
            }
            ScheduleAction::Template { template, text } => {
                (MessageBody::Template { template: template.clone(), text: text.clone() }, None)
            }
            ScheduleAction::AskAgent { text } => {
                self.fired.turns.push(conversation_id);
                let (text, to) = (text.clone(), to.clone());
                let payload = json!({ "schedule_id": schedule.id }).to_string();
                self.questions.push(NewQuestion { conversation_id, id, phone_number_id, key, text, payload, to, now });
                return Ok(id);
            }
        };
        self.fired.sends.push(conversation_id);
        let agent_id = schedule.agent_id.0.clone();
        let to = to.clone();
        self.sends.push(NewSend { conversation_id, id, key, agent_id, phone_number_id, to, body, template, now });
        Ok(id)
    }

    pub async fn write(self, tx: &mut Tx) -> Result<Fired, StoreError> {
        let mut script = Script::default();
        write_sends(&mut script, &self.sends)?;
        write_questions(&mut script, &self.questions);
        write_moves(&mut script, &self.moves);
        write_replaced(tx, &mut script, &self.replaced)?;
        script.run(tx).await?;
        let mut fired = self.fired;
        for conversations in [&mut fired.sends, &mut fired.turns] {
            conversations.sort_unstable();
            conversations.dedup();
        }
        Ok(fired)
    }
}

/// In which conversation and where a schedule speaks, or why it does not. What the sender would refuse anyway is not put into the
/// outbox again and again.
fn way(
    place: Option<&PlaceRow>,
    schedule: &Schedule,
    addresses: &Addresses,
) -> Result<(ConversationId, Address), ScheduleOutcome> {
    if place.is_some_and(|place| place.opted_out_at.is_some()) {
        return Err(ScheduleOutcome::skipped("opted_out", "The person wants nothing from us, so nothing was sent."));
    }
    if place.is_some_and(|place| place.blocked_at.is_some()) {
        return Err(ScheduleOutcome::skipped("blocked", "The person is blocked, so nothing was sent."));
    }
    let live = addresses.get(&schedule.contact_id.0).map(Vec::as_slice).unwrap_or_default();
    let way = place.and_then(|place| Some((ConversationId(place.conversation_id?), reachable_at(place, live)?)));
    way.ok_or_else(|| {
        let sentence = "No number and no user id of this person is known any more: they have to write first.";
        ScheduleOutcome::skipped("unreachable", sentence)
    })
}

fn json_text(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Refused(error.to_string()))
}

fn write_sends<'a>(script: &mut Script<'a>, sends: &'a [NewSend]) -> Result<(), StoreError> {
    const COLUMNS: &[(&str, Kind)] = &[
        ("conversation_id", Kind::Id),
        ("id", Kind::Id),
        ("idempotency_key", Kind::Text),
        ("agent_id", Kind::Text),
        ("phone_number_id", Kind::Text),
        ("to_kind", Kind::Text),
        ("to_value", Kind::Text),
        ("kind", Kind::Text),
        ("body", Kind::Json),
        ("template", Kind::Json),
        ("ignores_opt_out", Kind::Flag),
        ("state", Kind::Text),
        ("created_at", Kind::Instant),
    ];
    let mut rows = Rows::new("sends", COLUMNS);
    for send in sends {
        rows.push([
            send.conversation_id.0.into(),
            send.id.into(),
            (&send.key).into(),
            (&send.agent_id).into(),
            (&send.phone_number_id).into(),
            send.to.kind.as_str().into(),
            (&send.to.value).into(),
            send.body.kind().into(),
            Cell::json(&send.body)?,
            send.template.clone().map_or(Cell::Null, Cell::Json),
            false.into(),
            SendState::Queued.as_str().into(),
            send.now.into(),
        ]);
    }
    let rows = script.batch(rows);
    script.step(
        &[rows],
        "INSERT INTO outbound_messages
             (conversation_id, id, idempotency_key, agent_id, phone_number_id, to_kind, to_value, kind, body, template,
              ignores_opt_out, state, attempts, resends, created_at, updated_at)
         SELECT conversation_id, id, idempotency_key, agent_id, phone_number_id, to_kind, to_value, kind, body, template,
              ignores_opt_out, state, 0, 0, created_at, created_at
         FROM sends WHERE true ON CONFLICT (idempotency_key) DO NOTHING",
    );
    Ok(())
}

fn write_questions<'a>(script: &mut Script<'a>, questions: &'a [NewQuestion]) {
    const COLUMNS: &[(&str, Kind)] = &[
        ("conversation_id", Kind::Id),
        ("id", Kind::Id),
        ("phone_number_id", Kind::Text),
        ("provider_message_id", Kind::Text),
        ("nature", Kind::Text),
        ("text", Kind::Text),
        ("payload", Kind::Json),
        ("reply_to_kind", Kind::Text),
        ("reply_to", Kind::Text),
        ("asked_at", Kind::Instant),
        ("state", Kind::Text),
    ];
    let mut rows = Rows::new("questions", COLUMNS);
    for question in questions {
        rows.push([
            question.conversation_id.0.into(),
            question.id.into(),
            (&question.phone_number_id).into(),
            (&question.key).into(),
            MessageNature::Schedule.as_str().into(),
            (&question.text).into(),
            Cell::Json(question.payload.clone()),
            question.to.kind.as_str().into(),
            (&question.to.value).into(),
            question.now.into(),
            InboundState::Pending.as_str().into(),
        ]);
    }
    let rows = script.batch(rows);
    // It opens no window: nobody wrote.
    script.step(
        &[rows],
        "INSERT INTO inbound_messages
             (conversation_id, id, phone_number_id, provider_message_id, kind, nature, text, payload, reply_to_kind, reply_to,
              sent_at, received_at, state, failures)
         SELECT conversation_id, id, phone_number_id, provider_message_id, nature, nature, text, payload, reply_to_kind,
              reply_to, asked_at, asked_at, state, 0
         FROM questions WHERE true ON CONFLICT (phone_number_id, provider_message_id) DO NOTHING",
    );
}

fn write_moves<'a>(script: &mut Script<'a>, moves: &'a [Move]) {
    const COLUMNS: &[(&str, Kind)] = &[
        ("id", Kind::Id),
        ("state", Kind::Text),
        ("next_due_at", Kind::Instant),
        ("next_run_at", Kind::Instant),
        ("last_due_at", Kind::Instant),
        ("last_outcome", Kind::Json),
        ("fired", Kind::Whole),
        ("updated_at", Kind::Instant),
    ];
    let mut rows = Rows::new("moves", COLUMNS);
    for one in moves {
        rows.push([
            one.id.into(),
            one.state.as_str().into(),
            one.next_due_at.into(),
            one.next_run_at.into(),
            one.last_due_at.into(),
            Cell::Json(one.outcome.clone()),
            one.fired.into(),
            one.now.into(),
        ]);
    }
    let rows = script.batch(rows);
    script.step(
        &[rows],
        "UPDATE schedules SET state = moves.state, next_due_at = moves.next_due_at, next_run_at = moves.next_run_at,
             last_due_at = moves.last_due_at, last_outcome = moves.last_outcome, fired = moves.fired,
             updated_at = moves.updated_at
         FROM moves WHERE schedules.id = moves.id",
    );
}

fn write_replaced(
    tx: &Tx,
    script: &mut Script<'_>,
    replaced: &[(ConversationId, Uuid, Timestamp)],
) -> Result<(), StoreError> {
    const COLUMNS: &[(&str, Kind)] =
        &[("conversation_id", Kind::Id), ("id", Kind::Id), ("error", Kind::Json), ("replaced_at", Kind::Instant)];
    let error = SendError {
        code: None,
        reason: "replaced".to_owned(),
        detail: "It still waited when its schedule was due again: the latest takes its place.".to_owned(),
    };
    let mut rows = Rows::new("replaced", COLUMNS);
    for (conversation_id, id, now) in replaced {
        rows.push([conversation_id.0.into(), (*id).into(), Cell::json(&error)?, (*now).into()]);
    }
    let rows = script.batch(rows);
    // Said so that only the primary key fits: all that is held is no way to a row.
    let still_waits = match tx {
        // A turn that lets it go may wait for a schedule of this batch: what is in its hands is passed over.
        Tx::Pg(..) => {
            "outbound_messages.id = (SELECT h.id FROM outbound_messages h
                 WHERE h.conversation_id = replaced.conversation_id AND h.id = replaced.id
                   AND coalesce(h.state, '') = 'held' FOR UPDATE SKIP LOCKED)"
        }
        Tx::Lite(_) => "coalesce(outbound_messages.state, '') = 'held'",
    };
    script.step(
        &[rows],
        format!(
            "UPDATE outbound_messages SET state = 'cancelled', error = replaced.error, updated_at = replaced.replaced_at
             FROM replaced
             WHERE outbound_messages.conversation_id = replaced.conversation_id AND outbound_messages.id = replaced.id
               AND {still_waits}"
        ),
    );
    Ok(())
}
