//! Bodies of webhooks: the envelope, and bytes escaped as Meta escapes them.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::deliver::{ATTEMPTS_MAX, REORDER_WAIT_MAX};
use crate::view::{DeliveryState, FaultKind, FaultOn, SimEvent};
use crate::world::log::{Pending, Signing};
use crate::world::{Job, World};

/// What a webhook is about, for logs and faults.
#[derive(Debug, Clone, Default)]
pub(crate) struct About {
    pub(crate) phone_id: Option<String>,
    pub(crate) wamids: Vec<String>,
    pub(crate) kind: String,
}

impl World {
    /// The inside of a `messages` change, with the business number's metadata.
    pub(crate) fn messages_value(&self) -> Map<String, Value> {
        let mut value = Map::new();
        value.insert("messaging_product".to_owned(), json!("whatsapp"));
        value.insert(
            "metadata".to_owned(),
            json!({
                "display_phone_number": self.config.display_phone_number,
                "phone_number_id": self.config.phone_number_id,
            }),
        );
        value
    }

    /// Sends one change of this account.
    pub(crate) fn send_change(&mut self, about: About, field: &str, value: Value) {
        let change = json!({ "value": value, "field": field });
        self.send_entries(about, vec![self.entry(vec![change])]);
    }

    pub(crate) fn entry(&self, changes: Vec<Value>) -> Value {
        json!({ "id": self.config.waba_id, "time": self.now(), "changes": changes })
    }

    pub(crate) fn send_entries(&mut self, about: About, entries: Vec<Value>) {
        let body = json!({ "object": "whatsapp_business_account", "entry": entries });
        self.send_body(about, escaped(&body), Signing::Valid, ATTEMPTS_MAX);
    }

    /// Queues a webhook, as often and as late as faults say. Gives its number.
    pub(crate) fn send_body(&mut self, about: About, body: Bytes, signing: Signing, attempts_max: u32) -> u64 {
        let pending = Pending {
            at_milliseconds: self.now_milliseconds,
            phone_id: about.phone_id,
            wamids: about.wamids,
            kind: about.kind,
            body,
            signing,
            attempts: 0,
            attempts_max,
            status: None,
            error: None,
            answered_in_milliseconds: None,
        };
        let early =
            |kind: &FaultKind| matches!(kind, FaultKind::Duplicate | FaultKind::Reorder | FaultKind::Delay { .. });
        let fault = self.faults.take(FaultOn::Webhook, pending.phone_id.as_deref(), early);
        match fault {
            Some(FaultKind::Duplicate) => {
                self.queue_webhook(pending.clone(), 0);
                self.queue_webhook(pending, 0)
            }
            Some(FaultKind::Reorder) => {
                let wait = u64::try_from(REORDER_WAIT_MAX.as_millis()).unwrap_or(u64::MAX);
                let number = self.queue_webhook(pending, wait);
                self.deliveries.held.push(number);
                number
            }
            Some(FaultKind::Delay { ms }) => self.queue_webhook(pending, ms),
            _ => self.queue_webhook(pending, 0),
        }
    }

    fn queue_webhook(&mut self, pending: Pending, delay_milliseconds: u64) -> u64 {
        let (number, surplus) = self.deliveries.add(pending);
        if let Some(surplus) = surplus {
            self.event(|| SimEvent::Failure {
                phone_id: surplus.phone_id,
                source: "webhook".to_owned(),
                code: None,
                message: "too many webhooks are waiting: the oldest was given up".to_owned(),
            });
        }
        if self.webhook_url.is_none() {
            self.deliveries.finish(number, DeliveryState::NoTarget);
        } else {
            self.later(delay_milliseconds, Job::Deliver { number, attempts: 0 });
        }
        number
    }
}

/// JSON bytes as Meta writes them: non-ASCII as `\uXXXX`, slashes escaped. The signature is over these bytes, so
/// whoever writes the JSON anew before checking gets it wrong.
pub(crate) fn escaped(value: &Value) -> Bytes {
    let plain = value.to_string();
    let mut text = String::with_capacity(plain.len() + plain.len() / 8);
    let mut rest = plain.as_str();
    // Nearly all of it is plain: whole stretches are copied.
    while let Some(end) = rest.bytes().position(|byte| byte == b'/' || !byte.is_ascii()) {
        text.push_str(&rest[..end]);
        let c = rest[end..].chars().next().unwrap_or_default();
        if c == '/' {
            text.push_str("\\/");
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        }
        rest = &rest[end + c.len_utf8()..];
    }
    text.push_str(rest);
    Bytes::from(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn escaping_keeps_the_value_and_leaves_ascii_only() {
        let value = json!({ "text": "olá 👍 a/b \"quoted\" \\ end\u{0}" });
        let bytes = escaped(&value);
        assert!(bytes.is_ascii());
        assert!(bytes.windows(3).any(|part| part == b"a\\/"));
        assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), value);
    }
}
