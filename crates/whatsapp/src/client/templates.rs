//! Templates: list and create.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Client;
use super::exchange::SendError;
use crate::json as lenient;

/// Templates a page asks for.
const TEMPLATES_PER_PAGE: usize = 100;

/// A page of templates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplatePage {
    /// The templates. What has no name is passed over.
    pub templates: Vec<TemplateInfo>,
    /// The cursor of the next page; `None` on the last one.
    pub next: Option<String>,
}

/// A template as the API lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateInfo {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its language, such as `pt_BR`.
    pub language: String,
    /// `APPROVED`, `PENDING`, `REJECTED`, `PAUSED`, `DISABLED` and others. Only `APPROVED` may be sent.
    pub status: String,
    /// `MARKETING`, `UTILITY` or `AUTHENTICATION`.
    pub category: String,
    /// `NAMED` or `POSITIONAL`.
    pub parameter_format: Option<String>,
    /// `quality_score.score`: `GREEN`, `YELLOW`, `RED`, `UNKNOWN`.
    pub quality: Option<String>,
    /// `components` as they are.
    pub components: Value,
}

/// A template to create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTemplate {
    /// Lower-case letters, digits, underscores.
    pub name: String,
    /// Such as `pt_BR`.
    pub language: String,
    /// `MARKETING`, `UTILITY` or `AUTHENTICATION`; Meta may choose another.
    pub category: String,
    /// `NAMED` or `POSITIONAL` (the default).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter_format: Option<String>,
    /// The components with their examples, as the API wants them.
    pub components: Value,
}

/// The answer to a creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTemplate {
    /// Its id.
    pub id: String,
    /// Usually `PENDING`.
    pub status: Option<String>,
    /// The category Meta chose.
    pub category: Option<String>,
}

impl Client {
    /// Lists templates of the account, a page at a time. `after` is [`TemplatePage::next`] of the page before.
    pub async fn templates(&self, after: Option<&str>) -> Result<TemplatePage, SendError> {
        let mut url = self.url(&[self.waba_id()?, "message_templates"])?;
        let fields = "id,name,language,status,category,components,quality_score,parameter_format";
        url.query_pairs_mut()
            .append_pair("fields", fields)
            .append_pair("limit", &TEMPLATES_PER_PAGE.to_string())
            .extend_pairs(after.map(|cursor| ("after", cursor)));
        let answer = self.get_json(url).await?;
        if !answer.value.get("data").is_some_and(Value::is_array) {
            return Err(answer.unreadable());
        }
        let paging = answer.value.get("paging").unwrap_or(&Value::Null);
        let cursor = lenient::object(paging, "cursors").and_then(|cursors| lenient::text(cursors, "after"));
        Ok(TemplatePage {
            templates: lenient::list(&answer.value, "data").iter().filter_map(read_template).collect(),
            // The cursor is there on the last page too; only the link tells that another one follows. A cursor that
            // does not move on would never end.
            next: cursor.filter(|cursor| paging.get("next").is_some() && Some(cursor.as_str()) != after),
        })
    }

    /// Creates a template. It cannot be sent before Meta approves it.
    pub async fn create_template(&self, template: &NewTemplate) -> Result<CreatedTemplate, SendError> {
        let url = self.url(&[self.waba_id()?, "message_templates"])?;
        let answer = self.post_json(url, &json!(template)).await?;
        let id = lenient::text(&answer.value, "id").ok_or_else(|| answer.unreadable())?;
        let status = lenient::text(&answer.value, "status");
        Ok(CreatedTemplate { id, status, category: lenient::text(&answer.value, "category") })
    }

    fn waba_id(&self) -> Result<&str, SendError> {
        let reason = "no WhatsApp Business account id is configured";
        self.config.waba_id.as_deref().ok_or_else(|| SendError::Invalid { reason: reason.to_owned() })
    }
}

fn read_template(node: &Value) -> Option<TemplateInfo> {
    Some(TemplateInfo {
        id: lenient::text(node, "id").unwrap_or_default(),
        name: lenient::text(node, "name")?,
        language: lenient::text(node, "language").unwrap_or_default(),
        status: lenient::text(node, "status").unwrap_or_default(),
        category: lenient::text(node, "category").unwrap_or_default(),
        parameter_format: lenient::text(node, "parameter_format"),
        quality: lenient::object(node, "quality_score").and_then(|quality| lenient::text(quality, "score")),
        components: node.get("components").cloned().unwrap_or(Value::Null),
    })
}
