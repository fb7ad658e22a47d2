//! Is a new template well-formed: the rules that Meta's review checks by machine.

use serde_json::Value;

use crate::errors::GraphError;
use crate::graph_api::fields::Fields;
use crate::world::World;
use crate::world::templates::{TEMPLATES_MAX, Template, variables};

type Checked<T> = Result<T, GraphError>;

const NAME_CHARACTERS_MAX: usize = 512;
const BODY_CHARACTERS_MAX: usize = 1_024;
const HEADER_CHARACTERS_MAX: usize = 60;
const BUTTONS_MAX: usize = 10;
const BUTTON_TEXT_CHARACTERS_MAX: usize = 25;
const URL_CHARACTERS_MAX: usize = 2_000;

/// Subcodes of refused templates.
const TOO_MANY: u32 = 2_388_019;
const ALREADY_EXISTS: u32 = 2_388_024;
const BAD_FORMAT: u32 = 2_388_073;
const PARAMETERS_DOMINATE: u32 = 2_388_293;
const PARAMETER_AT_THE_EDGE: u32 = 2_388_299;
const NO_EXAMPLE: u32 = 2_388_043;

/// Checks a body of `POST /{waba_id}/message_templates`.
pub(crate) fn new_template(world: &World, body: &Value) -> Checked<Template> {
    let fields = Fields::of(body, "template")?;
    let name = required(&fields, "name")?;
    let valid_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if name.len() > NAME_CHARACTERS_MAX || !valid_name {
        return Err(GraphError::parameter("Param name must be a-z, 0-9 and underscores, at most 512 characters."));
    }
    let language = required(&fields, "language")?;
    let category = required(&fields, "category")?.to_uppercase();
    if !["UTILITY", "MARKETING", "AUTHENTICATION"].contains(&category.as_str()) {
        return Err(GraphError::parameter("Param category must be one of {AUTHENTICATION, MARKETING, UTILITY}."));
    }
    let named = match fields.text("parameter_format")?.map(str::to_uppercase).as_deref() {
        None | Some("POSITIONAL") => false,
        Some("NAMED") => true,
        Some(_) => {
            return Err(GraphError::parameter("Param parameter_format must be one of {NAMED, POSITIONAL}."));
        }
    };
    if world.templates.all().len() >= TEMPLATES_MAX {
        return Err(GraphError::template(TOO_MANY, format!("This account has {TEMPLATES_MAX} templates already.")));
    }
    if world.templates.by_name(name, language).is_some() {
        let sentence = format!("There is already {language} content for the template {name}.");
        return Err(GraphError::template(ALREADY_EXISTS, sentence));
    }
    let components = components(&fields, named, category == "AUTHENTICATION")?;
    Ok(Template {
        id: String::new(),
        name: name.to_owned(),
        language: language.to_owned(),
        category,
        status: "PENDING".to_owned(),
        rejected_reason: "NONE".to_owned(),
        quality: "UNKNOWN".to_owned(),
        named,
        components,
    })
}

fn required<'a>(fields: &Fields<'a>, key: &str) -> Checked<&'a str> {
    let text = fields.text(key)?.filter(|text| !text.is_empty());
    text.ok_or_else(|| GraphError::parameter(format!("The parameter {key} is required.")))
}

fn components(fields: &Fields<'_>, named: bool, authentication: bool) -> Checked<Vec<Value>> {
    let Some(Value::Array(items)) = fields.get("components") else {
        return Err(GraphError::parameter("The parameter components is required."));
    };
    let mut checked: Vec<Value> = Vec::new();
    for item in items {
        let component = Fields::of(item, "component")?;
        let kind = required(&component, "type")?.to_uppercase();
        if checked.iter().any(|other| other["type"].as_str() == Some(&kind)) {
            return Err(GraphError::template(BAD_FORMAT, format!("There are two components of type {kind}.")));
        }
        match kind.as_str() {
            "HEADER" => header(&component, named)?,
            "BODY" if authentication && !component.has("text") => {}
            "BODY" => {
                let text = sized(&component, "text", BODY_CHARACTERS_MAX)?;
                variable_text(&component, text, named)?;
            }
            "FOOTER" if authentication && component.has("code_expiration_minutes") => {}
            "FOOTER" => {
                if !variables(sized(&component, "text", HEADER_CHARACTERS_MAX)?).is_empty() {
                    return Err(GraphError::template(BAD_FORMAT, "A footer has no variables."));
                }
            }
            "BUTTONS" => buttons(&component)?,
            _ => return Err(GraphError::parameter(format!("Unknown component type {kind}."))),
        }
        let mut item = item.clone();
        item["type"] = Value::String(kind);
        checked.push(item);
    }
    let Some(body) = checked.iter_mut().find(|component| component["type"] == "BODY") else {
        return Err(GraphError::template(BAD_FORMAT, "A template needs a body."));
    };
    if authentication && body["text"].is_null() {
        body["text"] = Value::String("*{{1}}* is your verification code.".to_owned());
    }
    Ok(checked)
}

fn header(component: &Fields<'_>, named: bool) -> Checked<()> {
    match required(component, "format")?.to_uppercase().as_str() {
        "TEXT" => {
            let text = sized(component, "text", HEADER_CHARACTERS_MAX)?;
            let names = variables(text);
            if names.len() > 1 {
                return Err(GraphError::template(BAD_FORMAT, "A header has at most one variable."));
            }
            check_names(&names, named)?;
            check_example(component, &names)
        }
        "IMAGE" | "VIDEO" | "DOCUMENT" | "LOCATION" => Ok(()),
        other => Err(GraphError::parameter(format!("Unknown header format {other}."))),
    }
}

/// The rules for variables in a body: well numbered, shown by an example, not at the edges, not too many.
fn variable_text(component: &Fields<'_>, text: &str, named: bool) -> Checked<()> {
    let names = variables(text);
    if names.is_empty() {
        return Ok(());
    }
    check_names(&names, named)?;
    check_example(component, &names)?;
    let trimmed = text.trim();
    if trimmed.starts_with("{{") || trimmed.ends_with("}}") {
        return Err(GraphError::template(
            PARAMETER_AT_THE_EDGE,
            "Variables cannot be at the start or end of the text.",
        ));
    }
    let words = text.split_whitespace().filter(|word| !word.contains("{{")).count();
    if words < names.len() * 2 {
        let sentence = "This template has too many variables for its length. Reduce the variables or add text.";
        return Err(GraphError::template(PARAMETERS_DOMINATE, sentence));
    }
    Ok(())
}

fn check_names(names: &[String], named: bool) -> Checked<()> {
    let valid = if named {
        let name_like = |name: &String| {
            name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
                && name.starts_with(|c: char| c.is_ascii_lowercase())
        };
        names.iter().all(name_like)
    } else {
        (1..=names.len()).all(|number| names.contains(&number.to_string()))
    };
    if valid {
        return Ok(());
    }
    let wanted = if named { "lower-case names such as {{first_name}}" } else { "{{1}}, {{2}} and so on without gaps" };
    Err(GraphError::template(BAD_FORMAT, format!("Variables must be {wanted}.")))
}

fn check_example(component: &Fields<'_>, names: &[String]) -> Checked<()> {
    if names.is_empty() || component.has("example") {
        return Ok(());
    }
    Err(GraphError::template(NO_EXAMPLE, "A component with variables needs an example."))
}

fn buttons(component: &Fields<'_>) -> Checked<()> {
    let Some(Value::Array(items)) = component.get("buttons") else {
        return Err(GraphError::parameter("The parameter buttons is required."));
    };
    if !(1..=BUTTONS_MAX).contains(&items.len()) {
        return Err(GraphError::template(BAD_FORMAT, format!("A template has 1 to {BUTTONS_MAX} buttons.")));
    }
    for item in items {
        let button = Fields::of(item, "button")?;
        match required(&button, "type")?.to_uppercase().as_str() {
            "URL" => {
                sized(&button, "text", BUTTON_TEXT_CHARACTERS_MAX)?;
                sized(&button, "url", URL_CHARACTERS_MAX)?;
            }
            "QUICK_REPLY" | "PHONE_NUMBER" | "FLOW" => _ = sized(&button, "text", BUTTON_TEXT_CHARACTERS_MAX)?,
            "OTP" | "COPY_CODE" | "REQUEST_CONTACT_INFO" | "VOICE_CALL" => {}
            other => return Err(GraphError::parameter(format!("Unknown button type {other}."))),
        }
    }
    Ok(())
}

fn sized<'a>(fields: &Fields<'a>, key: &str, most: usize) -> Checked<&'a str> {
    let text = required(fields, key)?;
    if text.chars().count() > most {
        return Err(GraphError::template(BAD_FORMAT, format!("{key} has at most {most} characters.")));
    }
    Ok(text)
}
