//! Things to tap, as WhatsApp takes them.

use whatsapp::message::{LimitError, ListRow, ListSection, OutboundContent, ReplyButton};

use crate::domain::choice::Choice;

/// A list of one section.
pub(super) fn list(text: &str, button: &str, rows: &[Choice]) -> Result<OutboundContent, LimitError> {
    let row = |row: &Choice| ListRow::new(row.id.as_str(), row.title.as_str(), row.description.clone());
    let rows = rows.iter().map(row).collect::<Result<Vec<_>, _>>()?;
    OutboundContent::list(text, button, vec![ListSection::new(None, rows)?])
}

/// Reply buttons.
pub(super) fn buttons(text: &str, buttons: &[Choice]) -> Result<OutboundContent, LimitError> {
    let button = |one: &Choice| ReplyButton::new(one.id.as_str(), one.title.as_str());
    OutboundContent::buttons(text, buttons.iter().map(button).collect::<Result<Vec<_>, _>>()?)
}
