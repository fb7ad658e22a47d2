//! Message templates: kept, listed, decided about (reference §7.3).

use serde_json::{Value, json};

use crate::ids::Ids;
use crate::view::{ControlError, TemplateView};
use crate::world::webhooks::About;
use crate::world::{Job, World};

/// Templates of one account.
pub const TEMPLATES_MAX: usize = 250;
/// States that a template can be put into through the control API.
pub const TEMPLATE_STATUSES: &[&str] = &["APPROVED", "PENDING", "REJECTED", "PAUSED", "DISABLED"];
/// Qualities that a template can be given through the control API.
pub const TEMPLATE_QUALITIES: &[&str] = &["GREEN", "YELLOW", "RED", "UNKNOWN"];
/// Categories that a template can be moved to through the control API.
pub const TEMPLATE_CATEGORIES: &[&str] = &["UTILITY", "MARKETING", "AUTHENTICATION"];

#[derive(Debug, Clone)]
pub(crate) struct Template {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) language: String,
    pub(crate) category: String,
    pub(crate) status: String,
    pub(crate) rejected_reason: String,
    pub(crate) quality: String,
    /// Whether its variables have names instead of numbers.
    pub(crate) named: bool,
    pub(crate) components: Vec<Value>,
}

impl Template {
    pub(crate) fn view(&self) -> TemplateView {
        TemplateView {
            id: self.id.clone(),
            name: self.name.clone(),
            language: self.language.clone(),
            category: self.category.clone(),
            status: self.status.clone(),
            quality: self.quality.clone(),
        }
    }

    /// What each webhook about a template begins with.
    fn named(&self) -> Value {
        json!({
            "message_template_id": self.id.parse::<u64>().unwrap_or_default(),
            "message_template_name": self.name,
            "message_template_language": self.language,
        })
    }

    /// The component of this type, `BODY` for instance.
    pub(crate) fn component(&self, kind: &str) -> Option<&Value> {
        self.components.iter().find(|component| component["type"].as_str() == Some(kind))
    }

    /// The node as the Graph API shows it.
    pub(crate) fn node(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "language": self.language,
            "category": self.category,
            "status": self.status,
            "parameter_format": if self.named { "NAMED" } else { "POSITIONAL" },
            "components": self.components,
            "quality_score": { "score": self.quality },
            "rejected_reason": self.rejected_reason,
        })
    }
}

/// All templates, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    all: Vec<Template>,
}

impl Templates {
    /// A few approved templates to begin with.
    pub(crate) fn seeded(ids: &mut Ids) -> Self {
        let body = |text: &str, example: Value| json!({ "type": "BODY", "text": text, "example": example });
        let footer = json!({ "type": "FOOTER", "text": "Reply STOP to end these messages" });
        let buttons = json!({ "type": "BUTTONS", "buttons": [
            { "type": "QUICK_REPLY", "text": "Yes" }, { "type": "QUICK_REPLY", "text": "No" },
        ] });
        let otp =
            json!({ "type": "BUTTONS", "buttons": [{ "type": "OTP", "otp_type": "COPY_CODE", "text": "Copy code" }] });
        let seeds = [
            (
                "hello_world",
                "en_US",
                "UTILITY",
                false,
                vec![
                    json!({ "type": "HEADER", "format": "TEXT", "text": "Hello World" }),
                    json!({ "type": "BODY", "text": "Welcome! This message shows that your number can send templates." }),
                    json!({ "type": "FOOTER", "text": "WhatsApp Business Platform sample message" }),
                ],
            ),
            (
                "reminder",
                "en_US",
                "UTILITY",
                false,
                vec![body(
                    "Hi {{1}}, this is your reminder: {{2}}. Have a good day.",
                    json!({ "body_text": [["Ana", "dentist at 9"]] }),
                )],
            ),
            (
                "order_ready",
                "pt_BR",
                "UTILITY",
                true,
                vec![
                    body(
                        "Olá {{first_name}}, seu pedido {{order}} está pronto para retirada.",
                        json!({ "body_text_named_params": [
                        { "param_name": "first_name", "example": "Ana" }, { "param_name": "order", "example": "1001" },
                    ] }),
                    ),
                    buttons,
                ],
            ),
            (
                "spring_offer",
                "en_US",
                "MARKETING",
                false,
                vec![
                    body(
                        "Good news {{1}}: everything for the garden is cheaper this week.",
                        json!({ "body_text": [["Ana"]] }),
                    ),
                    footer,
                ],
            ),
            (
                "sign_in_code",
                "en_US",
                "AUTHENTICATION",
                false,
                vec![body("*{{1}}* is your verification code.", json!({ "body_text": [["123456"]] })), otp],
            ),
        ];
        let make = |(name, language, category, named, components): (&str, &str, &str, bool, Vec<Value>)| Template {
            id: ids.object_id(),
            name: name.to_owned(),
            language: language.to_owned(),
            category: category.to_owned(),
            status: "APPROVED".to_owned(),
            rejected_reason: "NONE".to_owned(),
            quality: "UNKNOWN".to_owned(),
            named,
            components,
        };
        Self { all: seeds.into_iter().map(make).collect() }
    }

    pub(crate) fn all(&self) -> &[Template] {
        &self.all
    }

    pub(crate) fn by_id(&self, id: &str) -> Option<&Template> {
        self.all.iter().find(|template| template.id == id)
    }

    /// By id, or by name in any language.
    fn find_mut(&mut self, id_or_name: &str) -> Result<&mut Template, ControlError> {
        let found = self.all.iter_mut().find(|template| template.id == id_or_name || template.name == id_or_name);
        found.ok_or_else(|| ControlError::NotFound(format!("there is no template {id_or_name}")))
    }

    pub(crate) fn by_name(&self, name: &str, language: &str) -> Option<&Template> {
        self.all.iter().find(|template| template.name == name && template.language == language)
    }

    /// Removes all languages of a name, or the one with this id. Says how many went.
    pub(crate) fn remove(&mut self, name: &str, id: Option<&str>) -> usize {
        let before = self.all.len();
        self.all.retain(|template| template.name != name || id.is_some_and(|id| template.id != id));
        before - self.all.len()
    }
}

impl World {
    /// Takes a checked template; it is reviewed a moment later.
    pub(crate) fn add_template(&mut self, mut template: Template) -> Template {
        template.id = self.ids.object_id();
        self.templates.all.push(template.clone());
        self.later(self.config.template_review_milliseconds, Job::ApproveTemplate(template.id.clone()));
        template
    }

    /// The review ends well, unless somebody decided before.
    pub(crate) fn approve_template(&mut self, id: &str) {
        if self.templates.by_id(id).is_some_and(|template| template.status == "PENDING") {
            _ = self.set_template_status(id, "APPROVED", None);
        }
    }

    /// Puts a template (by id, or by name in any language) into a state and tells the webhook.
    pub(crate) fn set_template_status(
        &mut self,
        id_or_name: &str,
        status: &str,
        reason: Option<&str>,
    ) -> Result<TemplateView, ControlError> {
        check_word("status", status, TEMPLATE_STATUSES)?;
        let template = self.templates.find_mut(id_or_name)?;
        let default_reason = if status == "REJECTED" { "INVALID_FORMAT" } else { "NONE" };
        template.status = status.to_owned();
        template.rejected_reason = reason.unwrap_or(default_reason).to_owned();
        let (view, mut value) = (template.view(), template.named());
        value["event"] = json!(status);
        value["message_template_category"] = json!(template.category);
        value["reason"] = json!(template.rejected_reason);
        self.send_template_change("message_template_status_update", value);
        Ok(view)
    }

    /// Gives a template another quality and tells the webhook.
    pub(crate) fn set_template_quality(
        &mut self,
        id_or_name: &str,
        quality: &str,
    ) -> Result<TemplateView, ControlError> {
        check_word("quality", quality, TEMPLATE_QUALITIES)?;
        let template = self.templates.find_mut(id_or_name)?;
        let previous = std::mem::replace(&mut template.quality, quality.to_owned());
        let (view, mut value) = (template.view(), template.named());
        value["previous_quality_score"] = json!(previous);
        value["new_quality_score"] = json!(quality);
        self.send_template_change("message_template_quality_update", value);
        Ok(view)
    }

    /// Moves a template to another category, or only announces that, and tells the webhook.
    pub(crate) fn set_template_category(
        &mut self,
        id_or_name: &str,
        category: &str,
        only_announced: bool,
    ) -> Result<TemplateView, ControlError> {
        check_word("category", category, TEMPLATE_CATEGORIES)?;
        let template = self.templates.find_mut(id_or_name)?;
        let mut value = template.named();
        if only_announced {
            value["new_category"] = json!(template.category);
            value["correct_category"] = json!(category);
        } else {
            value["previous_category"] = json!(template.category);
            value["new_category"] = json!(category);
            template.category = category.to_owned();
        }
        let view = template.view();
        self.send_template_change("template_category_update", value);
        Ok(view)
    }

    /// Gives a template other words and tells the webhook.
    pub(crate) fn set_template_body(&mut self, id_or_name: &str, text: &str) -> Result<TemplateView, ControlError> {
        let template = self.templates.find_mut(id_or_name)?;
        let body = template.components.iter_mut().find(|component| component["type"] == "BODY");
        let body = body.ok_or_else(|| ControlError::Invalid("the template has no body".to_owned()))?;
        body["text"] = json!(text);
        let (view, mut value) = (template.view(), template.named());
        value["message_template_element"] = json!(text);
        self.send_template_change("message_template_components_update", value);
        Ok(view)
    }

    fn send_template_change(&mut self, field: &str, value: Value) {
        let about = About { kind: "template".to_owned(), ..About::default() };
        self.send_change(about, field, value);
    }
}

fn check_word(what: &str, word: &str, words: &[&str]) -> Result<(), ControlError> {
    if words.contains(&word) {
        return Ok(());
    }
    Err(ControlError::Invalid(format!("{what} is one of {}", words.join(", "))))
}

/// The names inside `{{…}}` in order of appearance, each once.
pub(crate) fn variables(text: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find("{{") {
        rest = &rest[begin + 2..];
        let Some(end) = rest.find("}}") else { break };
        let name = rest[..end].trim().to_owned();
        if !names.contains(&name) {
            names.push(name);
        }
        rest = &rest[end + 2..];
    }
    names
}

/// The text with each `{{name}}` replaced. Values are not looked at again.
pub(crate) fn rendered(text: &str, values: &[(String, String)]) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find("{{") {
        result.push_str(&rest[..begin]);
        let inner = &rest[begin + 2..];
        let Some(end) = inner.find("}}") else {
            result.push_str(&rest[begin..]);
            return result;
        };
        let name = inner[..end].trim();
        match values.iter().find(|(known, _)| known == name) {
            Some((_, value)) => result.push_str(value),
            None => result.push_str(&rest[begin..begin + end + 4]),
        }
        rest = &inner[end + 2..];
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_in_order_and_once() {
        assert_eq!(variables("a {{1}} b {{ 2 }} c {{1}}"), ["1", "2"]);
        assert_eq!(variables("no end {{1"), Vec::<String>::new());
    }

    #[test]
    fn rendering_replaces_each_variable_and_never_twice() {
        let values = [("1".to_owned(), "{{2}}".to_owned()), ("2".to_owned(), "b".to_owned())];
        assert_eq!(rendered("{{1}} and {{2}} and {{3}} and {{", &values), "{{2}} and b and {{3}} and {{");
    }
}
