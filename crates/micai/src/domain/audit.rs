//! Audit: who changed what, and how it stood before and after.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::evidence::{bounded, bounded_text};

/// The most characters of a name in the audit log: of a person, as claimed, or of a user of the system.
pub const ACTOR_NAME_CHARACTERS_MAX: usize = 128;
/// The most characters of an entry's subject.
pub const AUDIT_SUBJECT_CHARACTERS_MAX: usize = 256;
/// The most bytes that an entry keeps of how something stood before, and as many of after: an agent with all its texts fits.
pub const AUDIT_STATE_BYTES_MAX: usize = 65_536;

/// Who changes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// Whoever holds the admin key, over HTTP.
    Admin {
        /// The request; the same stands in the log and in the answer.
        request_id: Uuid,
        /// The person behind a shared key, as the request claims. Nobody checks it.
        name: Option<String>,
    },
    /// Somebody at the command line of the machine.
    CommandLine {
        /// The system's name for them.
        name: String,
    },
    /// The platform itself, such as at a start.
    Platform,
}

impl Actor {
    /// Somebody at the command line, by the system's name for them.
    #[must_use]
    pub fn command_line(name: &str) -> Self {
        Self::CommandLine { name: bounded_text(name, ACTOR_NAME_CHARACTERS_MAX) }
    }

    /// The name of its kind in the database and in answers.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Admin { .. } => "admin",
            Self::CommandLine { .. } => "command_line",
            Self::Platform => "platform",
        }
    }

    /// The person, where one is named.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Admin { name, .. } => name.as_deref(),
            Self::CommandLine { name } => Some(name),
            Self::Platform => None,
        }
    }

    /// The request that it came with.
    pub fn request_id(&self) -> Option<Uuid> {
        match self {
            Self::Admin { request_id, .. } => Some(*request_id),
            Self::CommandLine { .. } | Self::Platform => None,
        }
    }
}

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),* $(,)?) => {
        /// What was done.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum AuditAction {
            $($(#[$doc])* #[serde(rename = $name)] $variant),*
        }

        impl AuditAction {
            /// Every action.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in the database and in answers.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),*
                }
            }
        }
    };
}

actions! {
    /// An agent was made. Subject: its id, as of the next two.
    AgentCreated = "agent_created",
    /// An agent was changed.
    AgentUpdated = "agent_updated",
    /// An agent was deleted, with its rules.
    AgentDeleted = "agent_deleted",
    /// A rule was made or changed. Subject: its id, as of the next one.
    RuleSaved = "rule_saved",
    /// A rule was deleted.
    RuleDeleted = "rule_deleted",
    /// A contact was bound to an agent. Subject: the contact, as of the next four.
    ContactBound = "contact_bound",
    /// A person's consent was noted by somebody else.
    ConsentSet = "consent_set",
    /// A contact was blocked.
    ContactBlocked = "contact_blocked",
    /// A contact is no longer blocked.
    ContactUnblocked = "contact_unblocked",
    /// A contact was forgotten.
    ContactErased = "contact_erased",
    /// A conversation changed hands. Subject: the conversation.
    ConversationModeSet = "conversation_mode_set",
    /// A message was sent by a person. Subject: the send, as of the next three.
    MessageSent = "message_sent",
    /// The fate of a send was decided by a person.
    SendSettled = "send_settled",
    /// A dead letter is tried again.
    LetterReplayed = "letter_replayed",
    /// A dead letter is given up.
    LetterDiscarded = "letter_discarded",
    /// Sending was paused by a person. Subject: what is paused, as of the next one.
    PauseSet = "pause_set",
    /// Sending goes on.
    PauseResumed = "pause_resumed",
    /// A template was handed in at WhatsApp. Subject: its name.
    TemplateCreated = "template_created",
    /// The list of templates was fetched on request.
    TemplatesSynced = "templates_synced",
    /// A budget was made or changed. Subject: the budget, as of the next one.
    BudgetSaved = "budget_saved",
    /// A budget was deleted.
    BudgetDeleted = "budget_deleted",
    /// A tool was called that the agent does not list, and did not run. Subject: the agent.
    ToolDenied = "tool_denied",
    /// A schedule was made or changed. Subject: the schedule, as of the next four.
    ScheduleSaved = "schedule_saved",
    /// A schedule was deleted.
    ScheduleDeleted = "schedule_deleted",
    /// A schedule was paused.
    SchedulePaused = "schedule_paused",
    /// A schedule goes on.
    ScheduleResumed = "schedule_resumed",
    /// A schedule was run at once.
    ScheduleRun = "schedule_run",
    /// Somebody has seen an alert. Subject: the alert.
    AlertAcknowledged = "alert_acknowledged",
}

/// An entry to be written. Made by [`AuditEntry::new`], which bounds it.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    action: AuditAction,
    subject: String,
    before: Option<Value>,
    after: Option<Value>,
}

impl AuditEntry {
    /// An entry about `subject`, with how it stood before (`None`: it was not there) and after (`None`: it is gone). Both are
    /// left out with their size where they are too large, and neither may hold a secret.
    #[must_use]
    pub fn new(
        action: AuditAction,
        subject: impl std::fmt::Display,
        before: Option<Value>,
        after: Option<Value>,
    ) -> Self {
        Self {
            action,
            subject: bounded_text(&subject.to_string(), AUDIT_SUBJECT_CHARACTERS_MAX),
            before: before.map(|before| bounded(before, AUDIT_STATE_BYTES_MAX)),
            after: after.map(|after| bounded(after, AUDIT_STATE_BYTES_MAX)),
        }
    }

    /// What was done.
    pub fn action(&self) -> AuditAction {
        self.action
    }

    /// To what: an id.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// How it stood before.
    pub fn before(&self) -> Option<&Value> {
        self.before.as_ref()
    }

    /// How it stood after.
    pub fn after(&self) -> Option<&Value> {
        self.after.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::json;

    use super::*;

    #[test]
    fn each_action_has_a_name_of_its_own() {
        let names: HashSet<&str> = AuditAction::ALL.iter().map(|action| action.as_str()).collect();
        assert_eq!(names.len(), AuditAction::ALL.len());
        for action in AuditAction::ALL {
            assert_eq!(serde_json::to_value(action).ok(), Some(json!(action.as_str())));
        }
    }

    #[test]
    fn an_entry_keeps_its_bounds() {
        let long = "x".repeat(100_000);
        let entry = AuditEntry::new(AuditAction::RuleSaved, &long, None, Some(json!(long)));
        assert_eq!(entry.subject().chars().count(), AUDIT_SUBJECT_CHARACTERS_MAX);
        assert_eq!(entry.after(), Some(&json!({ "left_out_bytes": 100_002 })));
        assert_eq!(Actor::command_line(&long).name().map(|name| name.chars().count()), Some(ACTOR_NAME_CHARACTERS_MAX));
    }
}
