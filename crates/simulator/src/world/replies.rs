//! Messages of a person that are about another one in the same chat: taps, reactions, edits.

use serde_json::{Value, json};

use crate::view::{Author, ButtonView, ControlError, InboundKind};
use crate::world::World;
use crate::world::bubble::Face;
use crate::world::inbound::{Draft, check_text};

/// Code points of a reaction.
pub const EMOJI_CHARACTERS_MAX: usize = 16;

impl World {
    /// Messages that are about another one in the same chat.
    pub(super) fn reference_draft(&mut self, phone_id: &str, kind: &InboundKind) -> Result<Draft, ControlError> {
        match kind {
            InboundKind::SharePhone { message_id } => self.share_draft(phone_id, message_id.as_deref()),
            InboundKind::ButtonReply { message_id, id } => self.button_draft(phone_id, message_id, id),
            InboundKind::ListReply { message_id, id } => self.list_draft(phone_id, message_id, id),
            InboundKind::TemplateButton { message_id, index, .. } => {
                self.quick_reply_draft(phone_id, message_id, *index)
            }
            InboundKind::FlowReply { message_id, response } => {
                let reply = json!({ "name": "flow", "body": "Sent", "response_json": response.to_string() });
                let payload = json!({ "type": "nfm_reply", "nfm_reply": reply });
                Ok(Draft::new("interactive", payload, Face::text("Sent")).answering(message_id.as_deref()))
            }
            InboundKind::Reaction { message_id, emoji } => self.react(phone_id, message_id, emoji.as_deref()),
            InboundKind::Edit { message_id, text } => self.edit(phone_id, message_id, text),
            InboundKind::Revoke { message_id } => self.revoke(phone_id, message_id),
            _ => Err(ControlError::Invalid("this message cannot be made".to_owned())),
        }
    }

    fn share_draft(&self, phone_id: &str, message_id: Option<&str>) -> Result<Draft, ControlError> {
        let phone = self.phone(phone_id)?;
        let card = json!({
            "name": { "formatted_name": phone.name, "first_name": phone.name },
            "phones": [{ "phone": format!("+{}", phone.number), "wa_id": phone.number, "type": "CELL" }],
            "origin": "contact_request",
        });
        let face = Face::text(format!("+{}", phone.number));
        Ok(Draft::new("contacts", json!([card]), face).answering(message_id))
    }

    fn button_draft(&self, phone_id: &str, message_id: &str, id: &str) -> Result<Draft, ControlError> {
        let bubble = self.bubble_in_chat(phone_id, message_id)?;
        let title = bubble.face.buttons.iter().find_map(|button| match button {
            ButtonView::Reply { id: own, title } if own == id => Some(title.clone()),
            _ => None,
        });
        let title = title.ok_or_else(|| ControlError::NotFound(format!("{message_id} has no button {id}")))?;
        let payload = json!({ "type": "button_reply", "button_reply": { "id": id, "title": title } });
        Ok(Draft::new("interactive", payload, Face::text(title)).answering(Some(message_id)))
    }

    fn list_draft(&self, phone_id: &str, message_id: &str, id: &str) -> Result<Draft, ControlError> {
        let bubble = self.bubble_in_chat(phone_id, message_id)?;
        let row = bubble.face.rows.iter().find(|row| row.id == id);
        let row = row.ok_or_else(|| ControlError::NotFound(format!("{message_id} has no row {id}")))?;
        let mut reply = json!({ "id": id, "title": row.title });
        if let Some(description) = &row.description {
            reply["description"] = json!(description);
        }
        let face = Face::text(&row.title);
        Ok(Draft::new("interactive", json!({ "type": "list_reply", "list_reply": reply }), face)
            .answering(Some(message_id)))
    }

    fn quick_reply_draft(&self, phone_id: &str, message_id: &str, index: usize) -> Result<Draft, ControlError> {
        let bubble = self.bubble_in_chat(phone_id, message_id)?;
        let title = bubble.face.buttons.iter().find_map(|button| match button {
            ButtonView::QuickReply { index: own, title } if *own == index => Some(title.clone()),
            _ => None,
        });
        let title = title.ok_or_else(|| ControlError::NotFound(format!("{message_id} has no quick reply {index}")))?;
        let payload = quick_reply_payload(&bubble.content, index).unwrap_or_else(|| title.clone());
        let draft = Draft::new("button", json!({ "payload": payload, "text": title }), Face::text(title));
        Ok(draft.answering(Some(message_id)))
    }

    fn react(&mut self, phone_id: &str, message_id: &str, emoji: Option<&str>) -> Result<Draft, ControlError> {
        self.bubble_in_chat(phone_id, message_id)?;
        let emoji = emoji.unwrap_or_default();
        if emoji.chars().count() > EMOJI_CHARACTERS_MAX {
            return Err(ControlError::Invalid(format!("an emoji has at most {EMOJI_CHARACTERS_MAX} code points")));
        }
        self.change_bubble(message_id, |bubble| bubble.react(Author::User, emoji));
        let mut payload = json!({ "message_id": message_id });
        if !emoji.is_empty() {
            payload["emoji"] = json!(emoji);
        }
        Ok(Draft::quiet("reaction", payload))
    }

    fn edit(&mut self, phone_id: &str, message_id: &str, text: &str) -> Result<Draft, ControlError> {
        check_text(text)?;
        let bubble = self.bubble_in_chat(phone_id, message_id)?;
        if bubble.author != Author::User || bubble.kind != "text" || bubble.revoked {
            return Err(ControlError::Invalid("only the person's own texts can be edited".to_owned()));
        }
        self.change_bubble(message_id, |bubble| {
            bubble.face.text = text.to_owned();
            bubble.edited = true;
        });
        let message = json!({ "type": "text", "text": { "body": text } });
        Ok(Draft::quiet("edit", json!({ "original_message_id": message_id, "message": message })))
    }

    fn revoke(&mut self, phone_id: &str, message_id: &str) -> Result<Draft, ControlError> {
        if self.bubble_in_chat(phone_id, message_id)?.author != Author::User {
            return Err(ControlError::Invalid("only the person's own messages can be taken back".to_owned()));
        }
        self.change_bubble(message_id, |bubble| {
            bubble.face = Face::default();
            bubble.revoked = true;
        });
        Ok(Draft::quiet("revoke", json!({ "original_message_id": message_id })))
    }
}

/// The payload that the business gave a template's quick reply when it sent it.
fn quick_reply_payload(content: &Value, index: usize) -> Option<String> {
    let components = content["template"]["components"].as_array()?;
    let component = components.iter().find(|component| {
        let own = &component["index"];
        let same = own.as_u64() == u64::try_from(index).ok() || own.as_str() == Some(&index.to_string());
        component["type"] == json!("button") && same
    })?;
    component["parameters"][0]["payload"].as_str().map(str::to_owned)
}
