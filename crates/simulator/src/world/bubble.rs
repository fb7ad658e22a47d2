//! A bubble in a chat, and how a message is shown to a person.

use std::sync::Arc;

use serde_json::Value;

use crate::view::{Author, BubbleStatus, BubbleView, ButtonView, FailureView, MediaView, ReactionView, RowView};
use crate::world::outbound::Sent;

/// Characters of the one-line summary of a bubble.
const LINE_CHARACTERS_MAX: usize = 80;

#[derive(Debug, Clone)]
pub(crate) struct Bubble {
    pub(crate) id: String,
    pub(crate) author: Author,
    pub(crate) kind: String,
    pub(crate) at: i64,
    pub(crate) face: Face,
    pub(crate) reply_to: Option<String>,
    pub(crate) status: BubbleStatus,
    pub(crate) error: Option<FailureView>,
    pub(crate) reactions: Vec<ReactionView>,
    pub(crate) edited: bool,
    pub(crate) revoked: bool,
    pub(crate) content: Value,
    /// What statuses of the business's message need.
    pub(crate) sent: Option<Arc<Sent>>,
}

/// What a person sees of a message.
#[derive(Debug, Clone, Default)]
pub(crate) struct Face {
    pub(crate) text: String,
    pub(crate) header: Option<String>,
    pub(crate) footer: Option<String>,
    pub(crate) media: Option<MediaView>,
    pub(crate) buttons: Vec<ButtonView>,
    pub(crate) list_button: Option<String>,
    pub(crate) rows: Vec<RowView>,
}

impl Face {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

impl Bubble {
    pub(crate) fn view(&self, phone_id: &str) -> BubbleView {
        let face = self.face.clone();
        BubbleView {
            id: self.id.clone(),
            phone_id: phone_id.to_owned(),
            author: self.author,
            kind: self.kind.clone(),
            at: self.at,
            text: face.text,
            header: face.header,
            footer: face.footer,
            media: face.media,
            buttons: face.buttons,
            list_button: face.list_button,
            rows: face.rows,
            reply_to: self.reply_to.clone(),
            status: self.status,
            error: self.error.clone(),
            reactions: self.reactions.clone(),
            edited: self.edited,
            revoked: self.revoked,
            content: self.content.clone(),
        }
    }

    /// The bubble in one line.
    pub(crate) fn line(&self) -> String {
        if self.face.text.is_empty() {
            return format!("[{}]", self.kind);
        }
        self.face.text.lines().next().unwrap_or_default().chars().take(LINE_CHARACTERS_MAX).collect()
    }

    /// Puts, replaces or (with an empty emoji) removes one side's reaction.
    pub(crate) fn react(&mut self, from: Author, emoji: &str) {
        self.reactions.retain(|reaction| reaction.from != from);
        if !emoji.is_empty() {
            self.reactions.push(ReactionView { from, emoji: emoji.to_owned() });
        }
    }

    /// Moves the status up; says whether it moved. `failed` only replaces what has not arrived.
    pub(crate) fn advance(&mut self, status: BubbleStatus) -> bool {
        let moves = match (self.status, status) {
            (BubbleStatus::Failed, _) => false,
            (now, BubbleStatus::Failed) => now <= BubbleStatus::Sent,
            (now, next) => now < next,
        };
        if moves {
            self.status = status;
        }
        moves
    }
}
