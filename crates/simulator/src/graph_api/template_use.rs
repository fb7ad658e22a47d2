//! A template in a send: does it exist, and do the parameters fit it (132xxx).

use serde_json::Value;

use crate::errors::GraphError;
use crate::graph_api::fields::Fields;
use crate::graph_api::message::media;
use crate::view::ButtonView;
use crate::world::World;
use crate::world::bubble::Face;
use crate::world::templates::{Template, rendered, variables};

type Checked<T> = Result<T, GraphError>;

/// Characters of a body after its variables were filled in.
pub const RENDERED_BODY_CHARACTERS_MAX: usize = 1_024;
/// Characters of a header after its variable was filled in.
pub const RENDERED_HEADER_CHARACTERS_MAX: usize = 60;
const COMPONENTS_MAX: usize = 13;

/// A template that fits, as the person sees it.
pub(crate) struct TemplateUse {
    /// In lower case.
    pub(crate) category: String,
    pub(crate) face: Face,
}

/// Finds the template and checks every parameter against it.
pub(crate) fn template(world: &World, part: &Fields<'_>) -> Checked<TemplateUse> {
    part.only(&["name", "language", "components", "namespace"])?;
    let name = part.need_text("name", 512)?;
    let language = part.need_object("language")?.need_text("code", 20)?;
    let template = sendable(world, name, language)?;
    let given = match part.get("components") {
        None => &[][..],
        Some(Value::Array(items)) if items.len() <= COMPONENTS_MAX => items,
        Some(_) => return Err(GraphError::parameter("Param template['components'] must be an array.")),
    };
    for component in given {
        let kind = Fields::of(component, "component")?.need_text("type", 20)?;
        if !["header", "body", "button"].contains(&kind.to_lowercase().as_str()) {
            return Err(GraphError::parameter(format!("Param template['components'] has an unknown type {kind}.")));
        }
    }
    let mut face = Face::default();
    put_header(world, template, given, &mut face)?;
    put_body(template, given, &mut face)?;
    face.footer = template.component("FOOTER").and_then(|footer| footer["text"].as_str()).map(str::to_owned);
    put_buttons(template, given, &mut face)?;
    Ok(TemplateUse { category: template.category.to_lowercase(), face })
}

fn sendable<'a>(world: &'a World, name: &str, language: &str) -> Checked<&'a Template> {
    let missing = || {
        let sentence = format!("template name ({name}) does not exist in {language}");
        GraphError::new(132_001, sentence)
    };
    let template = world.templates.by_name(name, language).ok_or_else(missing)?;
    match template.status.as_str() {
        "APPROVED" => Ok(template),
        "PAUSED" => Err(GraphError::new(132_015, format!("template ({name}) is paused because of low quality"))),
        "DISABLED" => Err(GraphError::new(132_016, format!("template ({name}) is disabled"))),
        _ => Err(missing()),
    }
}

fn component<'a>(given: &'a [Value], kind: &str) -> Option<&'a Value> {
    given.iter().find(|one| one["type"].as_str().is_some_and(|own| own.eq_ignore_ascii_case(kind)))
}

fn parameters(component: Option<&Value>) -> &[Value] {
    component.and_then(|one| one["parameters"].as_array()).map_or(&[], Vec::as_slice)
}

fn put_header(world: &World, template: &Template, given: &[Value], face: &mut Face) -> Checked<()> {
    let given = parameters(component(given, "header"));
    let Some(header) = template.component("HEADER") else {
        return count("header", given.len(), 0);
    };
    let format = header["format"].as_str().unwrap_or("TEXT");
    if format == "TEXT" {
        let text = header["text"].as_str().unwrap_or_default();
        face.header = Some(filled("header", template.named, text, given, RENDERED_HEADER_CHARACTERS_MAX)?);
        return Ok(());
    }
    let wanted = format.to_lowercase();
    let received = given.first().and_then(|one| one["type"].as_str()).unwrap_or("unknown").to_lowercase();
    if received != wanted || given.len() != 1 {
        let sentence = format!("header: Format mismatch, expected {format}, received {}", received.to_uppercase());
        return Err(GraphError::new(132_012, sentence));
    }
    if wanted == "location" {
        return Ok(());
    }
    let (shown, trouble) = media(world, &wanted, &Fields::of(&given[0], "parameter")?.need_object(&wanted)?)?;
    if let Some(trouble) = trouble {
        return Err(GraphError::new(132_012, trouble));
    }
    face.media = shown.media;
    Ok(())
}

fn put_body(template: &Template, given: &[Value], face: &mut Face) -> Checked<()> {
    let text = template.component("BODY").and_then(|body| body["text"].as_str()).unwrap_or_default();
    let given = parameters(component(given, "body"));
    face.text = filled("body", template.named, text, given, RENDERED_BODY_CHARACTERS_MAX)?;
    Ok(())
}

/// The text with its parameters, each checked: as many, of the right sort, by name where the template has names.
fn filled(part: &str, named: bool, text: &str, given: &[Value], most: usize) -> Checked<String> {
    let wanted = variables(text);
    count(part, given.len(), wanted.len())?;
    let mut values = Vec::with_capacity(wanted.len());
    for (place, parameter) in given.iter().enumerate() {
        let fields = Fields::of(parameter, "parameter")?;
        let name = match fields.text("parameter_name")? {
            Some(name) if named => name.to_owned(),
            None if !named => (place + 1).to_string(),
            _ => {
                let expected = if named { "named" } else { "positional" };
                let sentence = format!("{part}: the template has {expected} parameters");
                return Err(GraphError::new(132_012, sentence));
            }
        };
        if !wanted.contains(&name) || values.iter().any(|(known, _)| *known == name) {
            return Err(GraphError::new(132_000, format!("{part}: parameter ({name}) is unknown or given twice")));
        }
        values.push((name, parameter_text(part, place, &fields)?));
    }
    let text = rendered(text, &values);
    if text.chars().count() > most {
        return Err(GraphError::new(132_005, format!("{part}: the text with its parameters is longer than {most}")));
    }
    Ok(text)
}

fn parameter_text(part: &str, place: usize, fields: &Fields<'_>) -> Checked<String> {
    let kind = fields.need_text("type", 20)?;
    let text = match kind {
        "text" => fields.need_text("text", 32_768)?,
        "currency" | "date_time" => fields.need_object(kind)?.need_text("fallback_value", 1_000)?,
        _ => {
            let sentence =
                format!("{part}: Format mismatch at parameter {}, expected TEXT, received {kind}", place + 1);
            return Err(GraphError::new(132_012, sentence));
        }
    };
    if text.contains(['\n', '\t', '\r']) || text.contains("     ") {
        let sentence = "Param text cannot have new-line/tab characters or more than 4 consecutive spaces";
        return Err(GraphError::new(132_018, sentence));
    }
    Ok(text.to_owned())
}

fn count(part: &str, given: usize, wanted: usize) -> Checked<()> {
    if given == wanted {
        return Ok(());
    }
    let sentence = format!(
        "{part}: number of localizable_params ({given}) does not match the expected number of params ({wanted})"
    );
    Err(GraphError::new(132_000, sentence))
}

fn put_buttons(template: &Template, given: &[Value], face: &mut Face) -> Checked<()> {
    let empty = Vec::new();
    let buttons = template.component("BUTTONS").and_then(|part| part["buttons"].as_array()).unwrap_or(&empty);
    for one in given.iter().filter(|one| one["type"].as_str().is_some_and(|own| own.eq_ignore_ascii_case("button"))) {
        check_button(buttons, one)?;
    }
    for (index, button) in buttons.iter().enumerate() {
        let title = button["text"].as_str().unwrap_or_default().to_owned();
        let suffix = given.iter().find(|one| button_index(one) == Some(index)).map(|one| &one["parameters"][0]["text"]);
        face.buttons.push(match button["type"].as_str() {
            Some("QUICK_REPLY") => ButtonView::QuickReply { index, title },
            Some("REQUEST_CONTACT_INFO") => ButtonView::ShareContact { title },
            Some("URL") => {
                let url = button["url"].as_str().unwrap_or_default();
                let Some(suffix) = suffix.and_then(Value::as_str).or_else(|| variables(url).is_empty().then_some(""))
                else {
                    let sentence = format!("buttons: Button at index {index} of type Url requires a parameter");
                    return Err(GraphError::new(131_008, sentence));
                };
                ButtonView::Url { title, url: rendered(url, &[("1".to_owned(), suffix.to_owned())]) }
            }
            _ => ButtonView::Other { title },
        });
    }
    Ok(())
}

fn button_index(component: &Value) -> Option<usize> {
    let index = &component["index"];
    let number = index.as_u64().or_else(|| index.as_str().and_then(|text| text.parse().ok()))?;
    usize::try_from(number).ok()
}

/// The button that a component names must be there and of that sort. An OTP button is addressed as a `url`.
fn check_button(buttons: &[Value], component: &Value) -> Checked<()> {
    let button = button_index(component).and_then(|index| buttons.get(index));
    let sub_type = component["sub_type"].as_str().unwrap_or_default().to_lowercase();
    let fits = match button.and_then(|button| button["type"].as_str()) {
        Some("OTP") => sub_type == "url",
        Some(kind) => kind.eq_ignore_ascii_case(&sub_type),
        None => false,
    };
    if fits {
        return Ok(());
    }
    Err(GraphError::new(132_012, format!("buttons: there is no button of type {sub_type} at this index")))
}
