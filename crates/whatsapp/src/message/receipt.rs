//! Read receipts and the typing indicator.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Marks a message (and all before it) as read, with or without the typing indicator. Not a message: it costs nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadReceipt {
    /// The inbound message.
    pub message_id: String,
    /// Also show "typing…", until the reply or for 25 seconds.
    pub typing: bool,
}

impl ReadReceipt {
    /// The body of the request, exactly as it goes over the wire.
    pub fn to_json(&self) -> Value {
        let mut body = json!({ "messaging_product": "whatsapp", "status": "read", "message_id": self.message_id });
        if self.typing {
            body["typing_indicator"] = json!({ "type": "text" });
        }
        body
    }
}
