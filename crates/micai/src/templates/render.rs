//! What a template says with its values filled in. Pure. A value is never looked at again: braces in it stay braces.

use std::borrow::Cow;

use crate::domain::template::{
    ButtonValue, HeaderValue, ParameterFormat, Template, TemplateButton, TemplateHeader, TemplateUse, TextValue,
};

/// A template as the person sees it. Variables without a value stand as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Its header: words, or which kind of file or place stands there.
    pub header: Option<String>,
    /// Its words.
    pub body: String,
    /// What stands below.
    pub footer: Option<String>,
    /// Its buttons.
    pub buttons: Vec<RenderedButton>,
}

/// A button as the person sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedButton {
    /// Its label.
    pub text: String,
    /// What it does: the address that it opens, the code that it copies, the payload that it brings back.
    pub target: Option<String>,
}

impl Rendered {
    /// Its words in one text, for transcripts: header, body, footer.
    pub fn text(&self) -> String {
        [self.header.as_deref(), Some(self.body.as_str()), self.footer.as_deref()]
            .into_iter()
            .flatten()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("\n\n")
    }
}

/// Fills a template in.
pub fn render(template: &Template, filled: &TemplateUse) -> Rendered {
    Rendered {
        header: header_text(template, filled),
        body: body_text(template, filled),
        footer: template.parts.footer.clone(),
        buttons: template.parts.buttons.iter().enumerate().map(|(index, one)| button(index, one, filled)).collect(),
    }
}

pub(super) fn body_text(template: &Template, filled: &TemplateUse) -> String {
    fill(&template.parts.body, |variable| value_of(template.parameter_format, &filled.body, variable))
}

pub(super) fn header_text(template: &Template, filled: &TemplateUse) -> Option<String> {
    Some(match (template.parts.header.as_ref()?, &filled.header) {
        (TemplateHeader::Text { text }, Some(HeaderValue::Text { text: value, .. })) => fill(text, |_| Some(value)),
        (TemplateHeader::Text { text }, _) => text.clone(),
        (header, _) => format!("[{}]", header.kind()),
    })
}

fn value_of<'a>(format: ParameterFormat, values: &'a [TextValue], variable: &str) -> Option<&'a str> {
    let value = match format {
        ParameterFormat::Named => values.iter().find(|value| value.name.as_deref() == Some(variable)),
        ParameterFormat::Positional => variable.parse::<usize>().ok()?.checked_sub(1).and_then(|at| values.get(at)),
    };
    value.map(|value| value.text.as_str())
}

fn button(index: usize, button: &TemplateButton, filled: &TemplateUse) -> RenderedButton {
    let value = filled.buttons.iter().find(|value| usize::from(value.index()) == index);
    let target = match (button, value) {
        (TemplateButton::Url { url, .. }, Some(ButtonValue::Url { suffix, .. })) => {
            Some(Cow::Owned(fill(url, |_| Some(suffix))))
        }
        (TemplateButton::Url { url, .. }, _) => Some(Cow::Borrowed(url.as_str())),
        (_, Some(ButtonValue::QuickReply { payload, .. })) => Some(Cow::Borrowed(payload.as_str())),
        (_, Some(ButtonValue::CopyCode { code, .. })) => Some(Cow::Borrowed(code.as_str())),
        (TemplateButton::OneTimeCode { .. }, Some(ButtonValue::Url { suffix, .. })) => {
            Some(Cow::Borrowed(suffix.as_str()))
        }
        _ => None,
    };
    RenderedButton { text: button.text().to_owned(), target: target.map(Cow::into_owned) }
}

/// The text with each variable replaced by what `value` has for it.
fn fill<'a>(text: &str, value: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("{{") {
        let Some((variable, after)) = behind.split_once("}}") else { break };
        result.push_str(before);
        match value(variable.trim()) {
            Some(value) => result.push_str(value),
            None => result.push_str(&rest[before.len()..rest.len() - after.len()]),
        }
        rest = after;
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_variable_is_replaced_once_and_what_has_no_value_stays() {
        let values = |variable: &str| match variable {
            "1" => Some("{{2}}"),
            "2" => Some("b"),
            _ => None,
        };
        assert_eq!(fill("{{1}} {{ 2 }} {{3}} {{", values), "{{2}} b {{3}} {{");
        assert_eq!(fill("", values), "");
    }
}
