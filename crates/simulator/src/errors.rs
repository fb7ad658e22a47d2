//! Meta's error codes with their HTTP status and title, and the bodies that carry them.

use serde_json::{Value, json};

use crate::view::FailureView;

/// Code, HTTP status, title. Statuses marked 400 where Meta's page gives none.
const CODES: &[(u32, u16, &str)] = &[
    (0, 401, "AuthException"),
    (1, 400, "API Unknown"),
    (2, 503, "API Service"),
    (3, 500, "API Method"),
    (4, 400, "API Too Many Calls"),
    (10, 403, "Permission Denied"),
    (33, 400, "Parameter value is not valid"),
    (100, 400, "Invalid parameter"),
    (190, 401, "Access token has expired"),
    (200, 403, "Provide valid app ID"),
    (368, 403, "Temporarily blocked for policies violations"),
    (80007, 400, "Rate limit issues"),
    (130403, 400, "User is blocked"),
    (130429, 400, "Rate limit hit"),
    (130472, 400, "User's number is part of an experiment"),
    (130497, 400, "Business account is restricted from messaging users in this country"),
    (131000, 500, "Something went wrong"),
    (131005, 403, "Access denied"),
    (131008, 400, "Required parameter is missing"),
    (131009, 400, "Parameter value is not valid"),
    (131016, 500, "Service unavailable"),
    (131021, 400, "Recipient cannot be sender"),
    (131026, 400, "Message undeliverable"),
    (131030, 400, "Recipient phone number not in allowed list"),
    (131031, 403, "Business account has been locked"),
    (131037, 400, "Display name approval is needed before messages can be sent"),
    (131041, 400, "Unknown group"),
    (131042, 400, "Business eligibility payment issue"),
    (131045, 500, "Incorrect certificate"),
    (131047, 400, "Re-engagement message"),
    (131048, 400, "Spam rate limit hit"),
    (131049, 400, "This message was not delivered to maintain healthy ecosystem engagement"),
    (131050, 400, "User has stopped marketing messages from this business"),
    (131051, 400, "Unsupported message type"),
    (131052, 400, "Media download error"),
    (131053, 400, "Media upload error"),
    (131056, 400, "(Business Account, Consumer Account) pair rate limit hit"),
    (131057, 500, "Business Account is in maintenance mode"),
    (131062, 400, "Business-scoped user IDs are not supported for this message"),
    (131064, 400, "Account is limited because of template misclassification"),
    (132000, 400, "Number of parameters does not match the expected number of params"),
    (132001, 404, "Template name does not exist in the translation"),
    (132005, 400, "Translated text too long"),
    (132007, 400, "Template format character policy violated"),
    (132012, 400, "Parameter format does not match format in the created template"),
    (132015, 400, "Template is paused"),
    (132016, 400, "Template is disabled"),
    (132018, 400, "Template parameters are not valid"),
    (133010, 400, "Phone number not registered"),
    (135000, 400, "Generic user error"),
];

/// A refusal by the Graph API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GraphError {
    pub(crate) status: u16,
    pub(crate) code: u32,
    pub(crate) subcode: Option<u32>,
    pub(crate) kind: &'static str,
    pub(crate) message: String,
    pub(crate) details: Option<String>,
}

impl GraphError {
    /// The usual form: `(#code) title` with details.
    pub(crate) fn new(code: u32, details: impl Into<String>) -> Self {
        let (status, title) = meaning(code);
        Self {
            status,
            code,
            subcode: None,
            kind: "OAuthException",
            message: format!("(#{code}) {title}"),
            details: Some(details.into()),
        }
    }

    /// A bad parameter (100): the sentence itself is the message.
    pub(crate) fn parameter(sentence: impl std::fmt::Display) -> Self {
        Self { message: format!("(#100) {sentence}"), ..Self::new(100, sentence.to_string()) }
    }

    /// A path that names nothing that the token may see (100 with subcode 33).
    pub(crate) fn no_such_object(id: &str, method: &str) -> Self {
        Self {
            status: 400,
            code: 100,
            subcode: Some(33),
            kind: "GraphMethodException",
            message: format!(
                "Unsupported {} request. Object with ID '{id}' does not exist, cannot be loaded due to missing \
                 permissions, or does not support this operation",
                method.to_lowercase()
            ),
            details: None,
        }
    }

    /// A refused template (100 with a subcode that says why).
    pub(crate) fn template(subcode: u32, details: impl Into<String>) -> Self {
        Self { subcode: Some(subcode), message: "Invalid parameter".to_owned(), ..Self::new(100, details) }
    }

    pub(crate) fn body(&self, trace_id: &str) -> Value {
        let mut error = json!({ "message": self.message, "type": self.kind, "code": self.code });
        if let Some(subcode) = self.subcode {
            error["error_subcode"] = json!(subcode);
        }
        match &self.details {
            Some(details) if self.message == "Invalid parameter" => {
                error["error_user_title"] = json!("Template could not be created");
                error["error_user_msg"] = json!(details);
                error["is_transient"] = json!(false);
            }
            Some(details) => error["error_data"] = json!({ "messaging_product": "whatsapp", "details": details }),
            None => {}
        }
        error["fbtrace_id"] = json!(trace_id);
        json!({ "error": error })
    }
}

/// The failure that a `failed` status carries for this code.
pub(crate) fn failure(code: u32, details: impl Into<String>) -> FailureView {
    FailureView { code, title: meaning(code).1.to_owned(), details: details.into() }
}

/// An item of `errors[]` in a webhook; title and message are the same sentence.
pub(crate) fn webhook_error(failure: &FailureView) -> Value {
    json!({
        "code": failure.code,
        "title": failure.title,
        "message": failure.title,
        "error_data": { "details": failure.details },
        "href": "https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes/",
    })
}

/// HTTP status and title of a code; 400 and a general title where it is not in the table.
fn meaning(code: u32) -> (u16, &'static str) {
    CODES
        .iter()
        .find(|(known, _, _)| *known == code)
        .map_or((400, "Generic user error"), |(_, status, title)| (*status, title))
}
